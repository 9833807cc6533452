# shellcheck shell=bats
#
# The quickstart of the README: a server that listens on one address and one port answers on a subnet, and on all ports.
load ../lib/netns

@test "the quickstart works as written" {
	isomctl load
	isomctl bind foo tcp 127.0.0.0/8 4321
	start_server --name foo tcp:127.0.0.1:9999
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 9999
	assert_answer foo tcp 127.0.0.23 4321

	isomctl bind foo tcp 127.0.0.0/24 80
	assert_answer foo tcp 127.0.0.123 80

	isomctl bind foo tcp 127.0.0.22 0
	for port in 1 22 80 4321 9998 32768 65535; do
		assert_answer foo tcp 127.0.0.22 "$port"
	done

	# What isn't bound, or is bound for TCP alone, is none of Isomer's business.
	assert_refused tcp 127.0.1.123 80
	assert_refused tcp 127.0.0.23 4322
	assert_refused udp 127.0.0.22 80
}

@test "a connection goes on after its binding and the dispatcher are gone" {
	isomctl load
	isomctl bind foo tcp 127.0.0.0/8 4321
	start_server --name foo tcp:127.0.0.1:9999
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 9999

	# The client is a shell in the namespace that speaks twice, with an unload in between.
	# shellcheck disable=SC2016 # for the inner shell
	coproc client { in_ns bash -c '
		exec 5<>/dev/tcp/127.0.0.23/4321
		head -n1 <&5
		read -r word && echo "$word" >&5 && head -n1 <&5' 3>&-; }
	exec {answers}<&"${client[0]}" # which bash closes when the client has ended
	read -r -t 10 answer <&"$answers"
	[[ $answer == "foo 127.0.0.23 4321" ]]
	isomctl unload
	echo hello >&"${client[1]}"
	read -r -t 10 answer <&"$answers"
	[[ $answer == hello ]]
	assert_refused tcp 127.0.0.23 4321
}

@test "without Isomer, and after it, the kernel finds sockets as ever" {
	start_server --name wildcard tcp:0.0.0.0:4321
	assert_answer wildcard tcp 127.0.0.23 4321

	isomctl load
	assert_answer wildcard tcp 127.0.0.23 4321

	isomctl bind foo tcp 127.0.0.23 4321
	assert_refused tcp 127.0.0.23 4321
	assert_answer wildcard tcp 127.0.0.24 4321

	isomctl unload
	assert_answer wildcard tcp 127.0.0.23 4321
}
