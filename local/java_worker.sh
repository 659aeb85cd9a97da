#!/bin/sh
# A Java worker as a process of its own, for Beam's worker pool: its --container_executable. $CLASSPATH has Beam's Kafka
# expansion service, $JAVA names a java other than PATH's, $JDK_JAVA_OPTIONS has flags for it.
#
# A pool within one JVM (the expansion service's --alsoStartLoopbackWorker) must not serve one job after the other: KafkaIO
# keeps its consumers in a static map by a number that each launcher counts anew (MemoizingPerInstantiationSerializableSupplier
# of Beam 2.73), so a job gets the consumer of the one before, takes its position for the committed offset, and skips what lies
# between.
for argument; do
    value=${argument#*=}
    case $argument in
    --id=*) export HARNESS_ID="$value" ;;
    --logging_endpoint=*) export LOGGING_API_SERVICE_DESCRIPTOR="url: \"$value\"" ;;
    --control_endpoint=*) export CONTROL_API_SERVICE_DESCRIPTOR="url: \"$value\"" ;;
    esac
done
export PIPELINE_OPTIONS='{}'
# The pool does not read a worker's output. The arguments are there to be seen in a list of processes.
exec "${JAVA:-java}" org.apache.beam.fn.harness.FnHarness "$@" >&2
