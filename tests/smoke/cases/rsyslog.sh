# rsyslog: input, queue and output threads; conditions with time-outs.
case_package=rsyslog
case_needs="rsyslogd /usr/bin/python3"
case_log_errors='error'
case_ignore='origin software'
case_serve() {
    cat >"$RUN/conf" <<END
global(workDirectory="$RUN")
module(load="imtcp" MaxSessions="500")
input(type="imtcp" address="127.0.0.1" port="$PORT")
template(name="plain" type="string" string="%msg%\n")
action(type="omfile" file="$RUN/messages" template="plain" queue.type="linkedList")
END
    serve_at server "$PORT" rsyslogd -n -f "$RUN/conf" -i "$RUN/pid"
}
case_load() {
    MODE=native client sent /usr/bin/python3 "$ROOT/tests/smoke/programs/ask.py" syslog "$PORT"
    wait_for 20 sh -c "[ \$(grep -c number '$RUN/messages') -ge 5000 ]" ||
        fail "only $(grep -c number "$RUN/messages") of 5000 messages arrived"
    grep -o 'number.*' "$RUN/messages" | sort | answer messages
}
