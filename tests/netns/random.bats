# shellcheck shell=bats
#
# Hundreds of random bindings and thousands of probes against a model of the rules, which is random-bindings beside this
# file. RANDOM_SEED=N repeats the run that printed "seed N".
load ../lib/netns

@test "random overlapping bindings: every probe reaches the label that the rules give" {
	local port=1000 label
	isomctl load
	in_ns ip route add local 0.0.0.0/0 dev lo
	in_ns ip route add local ::/0 dev lo

	for label in one two three; do
		((++port))
		start_server --name $label "tcp:[::]:$port" "udp:[::]:$port"
		isomctl register-pid "$SERVER_PID" $label tcp :: $port
		isomctl register-pid "$SERVER_PID" $label udp :: $port
	done
	start_server --name four tcp:127.0.0.1:1004 udp:127.0.0.1:1004
	isomctl register-pid "$SERVER_PID" four tcp 127.0.0.1 1004
	isomctl register-pid "$SERVER_PID" four udp 127.0.0.1 1004
	start_server --name six --v6only "tcp:[::]:1006" "udp:[::]:1006"
	isomctl register-pid "$SERVER_PID" six tcp :: 1006
	isomctl register-pid "$SERVER_PID" six udp :: 1006
	start_server --name wildcard "tcp:[::]:53" "udp:[::]:53" "tcp:[::]:80" "udp:[::]:80" \
		"tcp:[::]:65535" "udp:[::]:65535"

	in_ns env BUILD="$BUILD" "$BATS_TEST_DIRNAME/random-bindings" ${RANDOM_SEED:+"$RANDOM_SEED"}
}
