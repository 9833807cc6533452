# shellcheck shell=bash
#
# What isomer-metrics serves: the counters, in the formats that are asked for, as Prometheus itself reads them.
load ../lib/netns
export PATH=$TESTS/../build/programs/usr/bin:$PATH
bats_require_minimum_version 1.5.0

# start_metrics [ARGUMENT...]: serves on 127.0.0.1:8000.
start_metrics() {
	setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		"$BUILD/isomer-metrics" 127.0.0.1 8000 "$@" </dev/null &>"$BATS_TEST_TMPDIR/log" 3>&- &
	METRICS=$!
	SERVERS+=("$METRICS")
	wait_until in_ns curl --silent --output /dev/null http://127.0.0.1:8000/
}

# get [OPTION...]: the metrics.
get() { in_ns curl --silent --show-error --fail "$@" http://127.0.0.1:8000/metrics; }

# has LINE...: each is a line of $metrics.
has() {
	local line
	for line; do
		[[ $'\n'$metrics$'\n' == *$'\n'"$line"$'\n'* ]] || fail "no line $line in" "$metrics" || return
	done
}

# A label with a socket and traffic, one with neither.
prepare() {
	isomctl load
	start_server --name web tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" web tcp 127.0.0.1 8080
	isomctl bind web tcp 127.1.0.0/16 80
	isomctl bind web tcp 127.2.0.0/16 80
	isomctl bind idle udp ::/0 0
	assert_answer web tcp 127.1.2.3 80
	assert_answer web tcp 127.2.2.3 80
	assert_refused udp ::1 80
}

@test "Prometheus' text, by default" {
	local metrics
	prepare
	start_metrics
	[[ $(get --output /dev/null --write-out '%{content_type}') == 'text/plain; version=0.0.4; charset=utf-8' ]]
	metrics=$(get)
	has '# TYPE isomer_lookups_total counter' '# TYPE isomer_bindings gauge' \
		'isomer_lookups_total{label="web",domain="ipv4",protocol="tcp"} 2' \
		'isomer_misses_total{label="web",domain="ipv4",protocol="tcp"} 0' \
		'isomer_errors_total{label="web",domain="ipv4",protocol="tcp",reason="bad-socket"} 0' \
		'isomer_bindings{label="web",domain="ipv4",protocol="tcp"} 2' \
		'isomer_destination_has_socket{label="web",domain="ipv4",protocol="tcp"} 1' \
		'isomer_misses_total{label="idle",domain="ipv6",protocol="udp"} 1' \
		'isomer_destination_has_socket{label="idle",domain="ipv6",protocol="udp"} 0' \
		'isomer_collection_errors_total 0'
	[[ $metrics == *'build_info{'*'} 1'* && $metrics != *'# EOF'* ]]
	assert_answer web tcp 127.1.2.3 80
	metrics=$(get)
	has 'isomer_lookups_total{label="web",domain="ipv4",protocol="tcp"} 3'
}

@test "OpenMetrics, to who asks for it" {
	local metrics accept
	prepare
	start_metrics
	# What Prometheus 2.42 sends.
	for accept in 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1' \
		'application/openmetrics-text'; do
		[[ $(get --header "Accept: $accept" --output /dev/null --write-out '%{content_type}') == \
			'application/openmetrics-text; version=1.0.0; charset=utf-8' ]]
		metrics=$(get --header "Accept: $accept")
		has '# TYPE isomer_lookups counter' 'isomer_lookups_total{label="web",domain="ipv4",protocol="tcp"} 2'
		[[ ${metrics##*$'\n'} == '# EOF' ]]
	done
	for accept in 'text/plain' '*/*' 'application/openmetrics-text;q=0.1, text/plain' 'application/openmetrics-text;q=0, text/html'; do
		[[ $(get --header "Accept: $accept" --output /dev/null --write-out '%{content_type}') == text/plain* ]]
	done
}

@test "labels of any bytes" {
	local metrics
	isomctl load
	isomctl bind $'a"b\\c\nd' tcp 127.0.0.1 1
	isomctl bind $'\xff\xc3\xa4\xc0\x80 {}' tcp 127.0.0.1 2
	start_metrics
	metrics=$(get)
	has 'isomer_bindings{label="a\"b\\c\nd",domain="ipv4",protocol="tcp"} 1' \
		'isomer_bindings{label="\\xffä\\xc0\\x80 {}",domain="ipv4",protocol="tcp"} 1'
	get | promtool check metrics
}

@test "without a dispatcher: the failed collections are counted, and it goes on when there is one" {
	local metrics
	start_metrics
	metrics=$(get)
	has 'isomer_collection_errors_total 1'
	[[ $metrics == *build_info* && $metrics != *isomer_lookups* ]]
	[[ $(<"$BATS_TEST_TMPDIR/log") == *'no dispatcher is loaded'* ]]
	prepare
	metrics=$(get)
	has 'isomer_collection_errors_total 1' 'isomer_bindings{label="web",domain="ipv4",protocol="tcp"} 2'
	isomctl unload
	metrics=$(get)
	has 'isomer_collection_errors_total 2'
}

@test "other paths, other methods, slow and silent clients" {
	isomctl load
	start_metrics /isomer
	[[ $(in_ns curl --silent --write-out ' %{http_code}' http://127.0.0.1:8000/metrics) == *'at /isomer'*' 404' ]]
	[[ $(in_ns curl --silent --write-out ' %{http_code}' --data a=b http://127.0.0.1:8000/isomer) == *' 405' ]]
	in_ns curl --silent --head http://127.0.0.1:8000/isomer | grep -q '^HTTP/1.1 200'
	exec {silent}< <(exec nsenter --target "$NETNS_PID" --net bash -c 'exec 9<>/dev/tcp/127.0.0.1/8000; read -r <&9' 3>&-)
	in_ns curl --silent --fail --max-time 5 http://127.0.0.1:8000/isomer >/dev/null
	exec {silent}<&-
}

@test "what can't be served is said" {
	local arguments
	while read -r -a arguments; do
		run -2 in_ns "$BUILD/isomer-metrics" "${arguments[@]}"
		[[ $output == 'isomer-metrics: cannot serve metrics at '* ]]
	done <<-'END'
		127.0.0.1 0
		127.0.0.1 http
		127.0.0.256 8000
	END
	run -1 in_ns "$BUILD/isomer-metrics" 192.0.2.77 8000
	[[ $output == 'isomer-metrics: cannot listen at 192.0.2.77 port 8000: '* ]]
	start_server tcp:127.0.0.1:8000
	run -1 in_ns "$BUILD/isomer-metrics" 127.0.0.1 8000
	[[ $output == *'Address already in use: if isomer-metrics.socket has it'* ]]
	run -2 in_ns "$BUILD/isomer-metrics" 127.0.0.1
	run -2 in_ns "$BUILD/isomer-metrics" 127.0.0.1 8000 metrics
	run -1 in_ns "$BUILD/isomer-metrics"
	[[ $output == *'systemd passed no socket'* ]]
}

@test "SIGTERM ends it well" {
	start_metrics
	kill -TERM "$METRICS"
	wait "$METRICS"
}

@test "Prometheus scrapes it" {
	prepare
	start_metrics
	get | promtool check metrics
	cat >"$BATS_TEST_TMPDIR/prometheus.yml" <<-END
		scrape_configs:
		- job_name: isomer
		  scrape_interval: 1s
		  static_configs:
		  - targets: ['127.0.0.1:8000']
	END
	setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount prometheus \
		--config.file="$BATS_TEST_TMPDIR/prometheus.yml" --storage.tsdb.path="$BATS_TEST_TMPDIR/tsdb" \
		--web.listen-address=127.0.0.1:9090 </dev/null &>"$BATS_TEST_TMPDIR/prometheus.log" 3>&- &
	SERVERS+=($!)
	ask() { in_ns curl --silent --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query; }
	is_scraped() { [[ $(ask "$1") == *'"value":['*",\"$2\"]"* ]]; }
	wait_until is_scraped 'isomer_lookups_total{label="web",domain="ipv4",protocol="tcp"}' 2
	is_scraped 'sum(isomer_bindings)' 3
	is_scraped 'up' 1
}
