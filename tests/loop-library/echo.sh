#!/usr/bin/env bash
# The example echo server echoes, to several at once, and ends when it is told.
# Usage: echo.sh OURO-ECHO-SERVER
. "$(dirname "$0")/lib.sh"
server=$1

"$server" 0 >"$home/out" 2>&1 &
background=$!
for ((attempt = 0; attempt < 200; ++attempt)); do
    [[ ! -s $home/out ]] || break
    sleep 0.05
done
port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$home/out")
[[ -n $port ]] || fail "it does not listen: $(cat "$home/out")"

exec 3<>"/dev/tcp/127.0.0.1/$port" 4<>"/dev/tcp/127.0.0.1/$port"
echo one >&3
echo two >&4
read -r -t 10 from_second <&4 || fail "no answer on the second connection"
read -r -t 10 from_first <&3 || fail "no answer on the first connection"
[[ $from_first == one && $from_second == two ]] || fail "got '$from_first' and '$from_second'"
exec 4>&-

head -c 3000000 /dev/urandom >"$home/sent"
cat "$home/sent" >&3 &
writer=$!
timeout 60 head -c 3000000 <&3 | cmp - "$home/sent" || fail "what is long comes back changed"
wait "$writer"

kill -TERM "$background"
status=0
wait "$background" || status=$?
background=
[[ $status -eq 0 ]] || fail "it ended with $status"
if "$server" nonsense 2>/dev/null; then fail "a bad port is accepted"; fi
