# rsyslog: input, queue and output threads; conditions with time-outs.
case_package=rsyslog
case_needs="rsyslogd /usr/bin/python3"
case_log_errors='fatal|crash'
case_ignore='origin software|Connection reset|error.*netstream|closed by remote|unexpected|imtcp'
# A tenth of MaxSessions is the queue that connections arrive in; in a storm a short one would overflow, and
# who finds it full comes again after a second.
case_serve() {
    cat >"$RUN/conf" <<END
global(workDirectory="$RUN")
module(load="imtcp" MaxSessions="20000")
input(type="imtcp" address="127.0.0.1" port="$PORT")
template(name="plain" type="string" string="%msg%\n")
action(type="omfile" file="$RUN/messages" template="plain" queue.type="linkedList")
END
    serve_at server "$PORT" rsyslogd -n -f "$RUN/conf" -i "$RUN/pid"
}
has_lines() { [ "$(wc -l <"$RUN/messages")" -ge "$1" ]; }
case_bench() {
    local count=1000000 began=$EPOCHREALTIME
    yes '<13>Jan  1 00:00:00 host program: number' | head -n $count >"/dev/tcp/127.0.0.1/$PORT"
    wait_for 60 has_lines $count || return
    echo "$count $began $EPOCHREALTIME" | awk '{ print $1 / ($3 - $2) }'
}
case_load() {
    MODE=native client sent /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" syslog "$PORT"
    wait_for 20 sh -c "[ \$(grep -c number '$RUN/messages') -ge 5000 ]" ||
        fail "only $(grep -c number "$RUN/messages") of 5000 messages arrived"
    grep -o 'number.*' "$RUN/messages" | sort | answer messages
    # SIGHUP: the files are opened anew, so that they can be rotated.
    mv "$RUN/messages" "$RUN/messages.1"
    kill -HUP "${SERVER[server]}"
    sleep 0.5
    MODE=native client again /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" syslog "$PORT"
    wait_for 20 sh -c "[ \$(grep -c number '$RUN/messages') -ge 5000 ]" ||
        fail "only $(grep -c number "$RUN/messages") of 5000 messages arrived after the rotation"
    grep -o 'number.*' "$RUN/messages" | sort | answer messages-again
    load -c 50 -n 2000 --storm 127.0.0.1 "$PORT"
}
