#!/bin/sh
# Reduces pip's output to one line for every 40 packages. Exits with CODE if the output ends in `failed CODE`.
count=0
while IFS= read -r line; do
    case "$line" in
        Collecting\ *)
            count=$((count + 1))
            [ $((count % 40)) -ne 0 ] || echo "  $count packages fetched"
            ;;
        Installing\ collected\ *) echo "  $count packages fetched, unpacking them" ;;
        failed\ *) exit "${line#failed }" ;;
    esac
done
