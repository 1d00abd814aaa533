# Sourced by `run`: Consul, a development agent and a cluster of three servers.

consul_get() {
    CONSUL_BIN=${CONSUL_BIN-$(command -v consul || true)}
    [ -z "$CONSUL_BIN" ] || return 0
    # Debian 12 has none any more.
    local folder=${CARGO_TARGET_DIR:-target}/real/consul
    CONSUL_BIN=$(realpath -m "$folder")/usr/bin/consul
    [ -x "$CONSUL_BIN" ] || real_package bullseye consul "$folder"
}

consul_run() {
    local ports name i
    read -r -a ports <<<"$(real_ports 16)"
    real_start consul-dev "$CONSUL_BIN" agent -dev -bind=127.0.0.1 -client=127.0.0.1 -node=n1 \
        -http-port="${ports[0]}" -serf-lan-port="${ports[1]}" -serf-wan-port="${ports[2]}" \
        -server-port="${ports[3]}" -dns-port=-1 -grpc-port=-1 -disable-host-node-id -log-level=warn
    export CONSUL_DEV=127.0.0.1:${ports[0]}
    CONSUL_SERVERS=
    for i in 1 2 3; do
        name=consul-$i
        local of=("${ports[@]:$((4 * i)):4}")
        cat >"$REAL_DIR/$name.json" <<JSON
{"node_name": "$name", "server": true, "bootstrap_expect": 3, "data_dir": "$REAL_DIR/$name.data",
 "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "disable_host_node_id": true, "log_level": "warn",
 "leave_on_terminate": false, "performance": {"raft_multiplier": 1},
 "ports": {"http": ${of[0]}, "dns": -1, "grpc": -1, "serf_lan": ${of[1]}, "serf_wan": ${of[2]}, "server": ${of[3]}},
 "retry_join": ["127.0.0.1:${ports[5]}", "127.0.0.1:${ports[9]}", "127.0.0.1:${ports[13]}"], "retry_interval": "1s"}
JSON
        real_start "$name" "$CONSUL_BIN" agent -config-file="$REAL_DIR/$name.json"
        # NAME=HTTP=RPC
        CONSUL_SERVERS+=${CONSUL_SERVERS:+,}$name=127.0.0.1:${of[0]}=127.0.0.1:${of[3]}
    done
    export CONSUL_SERVERS
    real_wait 20 sh -c "curl -sf http://$CONSUL_DEV/v1/catalog/nodes | grep -q n1"
    real_wait 60 sh -c "curl -sf http://127.0.0.1:${ports[4]}/v1/status/leader | grep -q :"
    cargo test --all-features --test discover_consul real -- --test-threads=1 --nocapture
}
