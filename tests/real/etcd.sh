# Sourced by `run`: etcd, alone, with users, as a cluster of three, and as one whose network can be cut.

etcd_get() {
    ETCD_BIN=${ETCD_BIN-$(command -v etcd || true)}
    [ -z "$ETCD_BIN" ] || return 0
    local folder=${CARGO_TARGET_DIR:-target}/real/etcd
    ETCD_BIN=$(realpath -m "$folder")/usr/bin/etcd
    [ -x "$ETCD_BIN" ] || real_package bookworm etcd-server "$folder"
}

# etcd_start NAME CLIENT PEER CLUSTER [PREFIX...]: a member at two URLs, run by PREFIX.
etcd_start() {
    local name=$1 client=$2 peer=$3 cluster=$4
    shift 4
    real_start "$name" "$@" "$ETCD_BIN" --logger=zap --log-level=error --name "$name" \
        --data-dir "$REAL_DIR/$name.data" --initial-cluster "$cluster" --unsafe-no-fsync=true \
        --heartbeat-interval=100 --election-timeout=1000 \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer"
}

# etcd_post URL BODY
etcd_post() { curl -sf "$1" -d "$2" >/dev/null; }

# A user `tax`, which may read and write below `/recorded/`.
etcd_users() {
    local auth=$1/v3/auth
    local first last
    first=$(printf /recorded/ | base64) last=$(printf /recorded0 | base64)
    etcd_post "$auth/user/add" '{"name": "root", "password": "r00t"}'
    etcd_post "$auth/role/add" '{"name": "root"}'
    etcd_post "$auth/user/grant" '{"user": "root", "role": "root"}'
    etcd_post "$auth/user/add" '{"name": "tax", "password": "s3cret"}'
    etcd_post "$auth/role/add" '{"name": "tax"}'
    etcd_post "$auth/role/grant" '{"name": "tax", "perm": {"permType": "READWRITE", "key": "'"$first"'", "range_end": "'"$last"'"}}'
    etcd_post "$auth/user/grant" '{"user": "tax", "role": "tax"}'
    etcd_post "$auth/enable" '{}'
}

# Hosts 1 to 3, each with a member, and 9 for the tests, on one bridge. Prints why, if that cannot be had.
etcd_network() {
    local i
    [ "$(id -u)" = 0 ] || { echo "no root"; return 1; }
    command -v nft >/dev/null || { echo "no nft"; return 1; }
    ip netns add "${ETCD_NET}s" 2>/dev/null || { echo "no network namespaces"; return 1; }
    ip -n "${ETCD_NET}s" link add br0 type bridge && ip -n "${ETCD_NET}s" link set br0 up || return 1
    for i in 1 2 3 9; do
        ip netns add "$ETCD_NET$i"
        ip link add "v$i" netns "${ETCD_NET}s" type veth peer name eth0 netns "$ETCD_NET$i"
        ip -n "${ETCD_NET}s" link set "v$i" master br0 up
        ip -n "$ETCD_NET$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$ETCD_NET$i" link set lo up
        ip -n "$ETCD_NET$i" link set eth0 up
    done
}

etcd_network_down() {
    local i
    for i in 1 2 3 9 s; do
        ip netns del "$ETCD_NET$i" 2>/dev/null || true
    done
}

# etcd_cut cut|heal NUMBER: between a member and the others; clients reach all.
etcd_cut_script() {
    cat >"$REAL_DIR/cut" <<CUT
#!/bin/sh
set -e
if [ "\$1" = heal ]; then exec ip netns exec "$ETCD_NET\$2" nft delete table inet cut; fi
ip netns exec "$ETCD_NET\$2" nft -f - <<NFT
table inet cut {
    chain in { type filter hook input priority 0; ip saddr { 10.77.0.1, 10.77.0.2, 10.77.0.3 } ip saddr != 10.77.0.\$2 drop; }
    chain out { type filter hook output priority 0; ip daddr { 10.77.0.1, 10.77.0.2, 10.77.0.3 } ip daddr != 10.77.0.\$2 drop; }
}
NFT
CUT
    chmod +x "$REAL_DIR/cut"
}

etcd_run() {
    local ports i cluster= why test
    read -r -a ports <<<"$(real_ports 10)"
    local url=http://127.0.0.1
    etcd_start etcd-dev "$url:${ports[0]}" "$url:${ports[1]}" "etcd-dev=$url:${ports[1]}"
    etcd_start etcd-users "$url:${ports[2]}" "$url:${ports[3]}" "etcd-users=$url:${ports[3]}"
    for i in 1 2 3; do
        cluster+=${cluster:+,}etcd-$i=$url:${ports[$((6 + i))]}
    done
    ETCD_SERVERS=
    for i in 1 2 3; do
        etcd_start "etcd-$i" "$url:${ports[$((3 + i))]}" "$url:${ports[$((6 + i))]}" "$cluster"
        ETCD_SERVERS+=${ETCD_SERVERS:+,}$url:${ports[$((3 + i))]}
    done
    for i in 0 2 4 5 6; do
        real_wait 30 curl -sf "$url:${ports[$i]}/health"
    done
    etcd_users "$url:${ports[2]}"
    export ETCD_DEV=$url:${ports[0]} ETCD_USERS=$url:${ports[2]} ETCD_SERVERS
    test=$(cargo test --all-features --test discover_etcd --no-run 2>&1 | sed -n 's/.*(\(.*discover_etcd-[^)]*\)).*/\1/p')
    "$test" real --test-threads=1 --nocapture

    ETCD_NET=tu$$n
    if why=$(etcd_network); then
        cluster=
        for i in 1 2 3; do
            cluster+=${cluster:+,}etcd-cut-$i=http://10.77.0.$i:2380
        done
        for i in 1 2 3; do
            etcd_start "etcd-cut-$i" "http://10.77.0.$i:2379" "http://10.77.0.$i:2380" "$cluster" \
                ip netns exec "$ETCD_NET$i"
        done
        real_wait 30 ip netns exec "${ETCD_NET}9" curl -sf http://10.77.0.1:2379/health
        etcd_cut_script
        local code=0
        ETCD_CUT=$REAL_DIR/cut ip netns exec "${ETCD_NET}9" "$test" cut_off --test-threads=1 --nocapture || code=$?
        for i in 1 2 3; do
            real_signal "etcd-cut-$i" TERM
        done
        etcd_network_down
        [ $code = 0 ] || return $code
    else
        etcd_network_down
        echo "SKIP etcd with a cut network: $why"
    fi
}
