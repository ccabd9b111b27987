# redis with io-threads: they spin on atomics between commands.
. "$ROOT/tests/smoke/cases/redis.sh"
redis_options="--io-threads 2 --io-threads-do-reads yes"
redis_requests=1000 # spinning threads have two cores between them all
