#!/bin/sh
# Run a Java worker in a new process. Beam's worker pool runs this script as its --container_executable.
# $CLASSPATH holds Beam's Kafka expansion service, $JAVA names a java other than the one on PATH, $JDK_JAVA_OPTIONS holds
# its flags.
#
# One JVM must not run the workers of jobs that other JVMs have expanded, one after the other. KafkaIO keeps its consumers in
# a static map, by a number that each expanding JVM counts from zero (MemoizingPerInstantiationSerializableSupplier of Beam
# 2.73). The second job would get the consumer of the first one, take its position for the committed offset, and skip the
# records between the two. An expansion service that runs the workers of its own expansions only is safe.
for argument; do
    value=${argument#*=}
    case $argument in
    --id=*) export HARNESS_ID="$value" ;;
    --logging_endpoint=*) export LOGGING_API_SERVICE_DESCRIPTOR="url: \"$value\"" ;;
    --control_endpoint=*) export CONTROL_API_SERVICE_DESCRIPTOR="url: \"$value\"" ;;
    esac
done
export PIPELINE_OPTIONS='{}'
# The pool does not read the output of a worker. The arguments are for those who read a list of processes.
exec "${JAVA:-java}" org.apache.beam.fn.harness.FnHarness "$@" >&2
