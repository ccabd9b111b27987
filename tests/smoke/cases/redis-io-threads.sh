# redis with io-threads: they spin on atomics between commands, so that each wants a carrier of its own.
. "$ROOT/tests/smoke/cases/redis.sh"
redis_options="--io-threads 2 --io-threads-do-reads yes"
redis_requests=1000 # spinning threads have two cores between them all
[ "$EVENTLET_RUN" = env ] || EVENTLET_RUN="$EVENTLET_RUN --carriers=2"
