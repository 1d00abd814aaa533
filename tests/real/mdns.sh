# Sourced by `run`: hosts that speak multicast DNS: python-zeroconf over loopback, and python-zeroconf and avahi on a
# network of their own. Nothing is ever sent on the interfaces of this host.

mdns_get() {
    local folder
    folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/real/mdns
    MDNS_PY=${MDNS_PY-}
    if [ -z "$MDNS_PY" ]; then
        MDNS_PY=$folder/python/bin/python
        "$MDNS_PY" -c 'import zeroconf' 2>/dev/null \
            || { python3 -m venv "$folder/python" && "$folder/python/bin/pip" -q install zeroconf; } \
            || { echo "python-zeroconf is not to be had"; return 1; }
    fi
    # Beside it, where there is one.
    MDNS_AVAHI=${MDNS_AVAHI-$(command -v avahi-daemon || true)}
    if [ -z "$MDNS_AVAHI" ]; then
        MDNS_AVAHI=$folder/avahi/usr/sbin/avahi-daemon
        MDNS_LIBS=$folder/avahi/usr/lib/$(uname -m)-linux-gnu
        [ -x "$MDNS_AVAHI" ] || real_package bookworm \
            "avahi-daemon libavahi-core7 libavahi-common3 libdaemon0 libdbus-1-3" "$folder/avahi" || MDNS_AVAHI=
    fi
}

# Hosts 1, for the others, and 9, for the tests, on one bridge. Prints why, if that cannot be had.
mdns_network() {
    local i
    [ "$(id -u)" = 0 ] || { echo "no root"; return 1; }
    ip netns add "${MDNS_NET}s" 2>/dev/null || { echo "no network namespaces"; return 1; }
    ip -n "${MDNS_NET}s" link add br0 type bridge mcast_snooping 0 && ip -n "${MDNS_NET}s" link set br0 up || return 1
    for i in 1 9; do
        ip netns add "$MDNS_NET$i"
        ip link add "v$i" netns "${MDNS_NET}s" type veth peer name eth0 netns "$MDNS_NET$i"
        ip -n "${MDNS_NET}s" link set "v$i" master br0 up
        ip -n "$MDNS_NET$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "$MDNS_NET$i" link set lo up
        ip -n "$MDNS_NET$i" link set eth0 up
        ip -n "$MDNS_NET$i" route add 224.0.0.0/4 dev eth0
    done
}

mdns_network_down() {
    local i
    for i in 1 9 s; do
        ip netns del "$MDNS_NET$i" 2>/dev/null || true
    done
}

# Avahi on host 1, which announces `av-1` of `_tax._tcp` from a file. It has its own /etc and /run, and no bus.
mdns_avahi() {
    local of=$REAL_DIR/avahi
    cp -a /etc "$of.etc"
    mkdir -p "$of.etc/avahi/services"
    # It looks for its user, although it stays root.
    echo 'avahi:x:998:998::/:/bin/false' >>"$of.etc/passwd"
    echo 'avahi:x:998:' >>"$of.etc/group"
    cat >"$of.etc/avahi/avahi-daemon.conf" <<'CONF'
[server]
host-name=avahi
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
enable-dbus=no
disallow-other-stacks=no
[publish]
publish-hinfo=no
publish-workstation=no
CONF
    cat >"$of.etc/avahi/services/tax.service" <<'XML'
<service-group>
  <name>av-1</name>
  <service><type>_tax._tcp</type><port>9001</port>
    <txt-record>zone=a</txt-record><txt-record>weight=10</txt-record><txt-record>k=v with space</txt-record></service>
</service-group>
XML
    cat >"$of.run" <<RUN
#!/bin/sh
mount --bind "$of.etc" /etc && mount -t tmpfs t /run && mkdir -p /run/avahi-daemon
LD_LIBRARY_PATH=${MDNS_LIBS-} exec "$MDNS_AVAHI" --no-drop-root --no-chroot --no-rlimits
RUN
    chmod +x "$of.run"
    real_start avahi ip netns exec "${MDNS_NET}1" unshare -m --propagation private "$of.run"
}

mdns_run() {
    local test why code=0 peer="$MDNS_PY $PWD/tests/real/mdns_peer.py"
    test=$(cargo test --all-features --test discover_mdns --no-run 2>&1 | sed -n 's/.*(\(.*discover_mdns-[^)]*\)).*/\1/p')
    MDNS_PEER="$peer 127.0.0.1" MDNS_OWN=127.0.0.1 "$test" real::a_foreign --test-threads=1 --nocapture

    MDNS_NET=tu$$m
    if why=$(mdns_network); then
        MDNS_PEER="ip netns exec ${MDNS_NET}1 $peer 10.77.0.1" MDNS_OWN=10.77.0.9 \
            MDNS_LINK=eth0 ip netns exec "${MDNS_NET}9" "$test" real::a --test-threads=1 --nocapture || code=$?
        if [ -n "$MDNS_AVAHI" ]; then
            mdns_avahi
            MDNS_AVAHI_ON=10.77.0.9 ip netns exec "${MDNS_NET}9" "$test" real::avahi --test-threads=1 --nocapture || code=$?
            real_signal avahi TERM
        else
            echo "SKIP avahi: it cannot be had"
        fi
    else
        echo "SKIP mDNS on a network of its own: $why"
    fi
    mdns_network_down
    return $code
}
