# shellcheck shell=bash
#
# isomer-metrics.socket: the first scrape starts the service, which runs as nobody in particular.
load ../lib/container
load ../lib/units

server=/usr/lib/isomer-tests/echo-server

# scrape: what is served. Without curl, which isn't everywhere.
scrape() {
	in_container python3 -c '
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9733/metrics", timeout=20).read().decode())'
}

@test "the first scrape starts it, and it tells of units" {
	printf '%s\n' '[Service]' Type=notify "ExecStart=$server --name counted --notify tcp:127.0.0.1:8001" \
		'[Isomer]' 'Bind=tcp 127.30.0.0/16 80' | unit counted.service
	systemctl daemon-reload
	systemctl start counted isomer-metrics.socket
	assert_inactive isomer-metrics.service
	assert_answer counted tcp 127.30.1.2 80
	[[ $(scrape) == *'isomer_lookups_total{label="counted",domain="ipv4",protocol="tcp"} 1'* ]]
	assert_active isomer-metrics.service
	assert_answer counted tcp 127.30.1.2 80
	[[ $(scrape) == *'isomer_lookups_total{label="counted",domain="ipv4",protocol="tcp"} 2'*'isomer_collection_errors_total 0'* ]]
}

@test "it isn't root, and can do next to nothing" {
	local pid
	scrape >/dev/null
	pid=$(systemctl show --property=MainPID --value isomer-metrics.service)
	[[ $(in_container stat -c %u "/proc/$pid") != 0 ]]
	# CAP_BPF is 39, CAP_DAC_READ_SEARCH 2.
	[[ $(in_container sed -n 's/^CapEff:\s*//p' "/proc/$pid/status") == 0000008000000004 ]]
}

@test "it lives through a restart of the dispatcher, and its own" {
	systemctl restart isomer
	[[ $(scrape) == *'isomer_destination_has_socket{label="counted",domain="ipv4",protocol="tcp"} 1'* ]]
	systemctl stop isomer-metrics.service
	[[ $(scrape) == *'isomer_bindings{label="counted",domain="ipv4",protocol="tcp"} 1'* ]]
}
