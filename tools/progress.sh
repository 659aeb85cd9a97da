#!/bin/sh
# Turns what pip prints into a line for each 40 packages, and fails if it ends in `failed CODE`.
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
