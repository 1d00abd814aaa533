# Sourced by `run`: processes by name. What belongs to NAME is in $REAL_DIR/NAME.*.

# Prints that many ports of 127.0.0.1 that are free.
real_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))
PYTHON
}

# real_start NAME COMMAND...
real_start() {
    local name=$1
    shift
    printf '%q ' "$@" >"$REAL_DIR/$name.command"
    real_spawn "$name"
}

real_spawn() {
    local command
    command=$(<"$REAL_DIR/$1.command")
    # With no tie to this shell: a test may restart it from another one.
    # Its own process is the server.
    eval "exec setsid $command" >>"$REAL_DIR/$1.log" 2>&1 </dev/null &
    echo $! >"$REAL_DIR/$1.pid"
    disown
}

real_is_up() { kill -0 "$(<"$REAL_DIR/$1.pid")" 2>/dev/null; }

# real_signal NAME SIGNAL
real_signal() {
    real_is_up "$1" || return 0
    kill "-$2" "$(<"$REAL_DIR/$1.pid")"
    case $2 in
        KILL | TERM)
            # One that is paused would never hear of it.
            kill -CONT "$(<"$REAL_DIR/$1.pid")" 2>/dev/null || true
            for _ in $(seq 200); do
                real_is_up "$1" || return 0
                sleep 0.05
            done
            kill -KILL "$(<"$REAL_DIR/$1.pid")"
            ;;
    esac
}

real_stop_all() {
    local file
    for file in "$REAL_DIR"/*.pid; do
        [ ! -e "$file" ] || real_signal "$(basename "$file" .pid)" TERM
    done
    rm -rf "$REAL_DIR"
}

# real_wait SECONDS COMMAND...: until it succeeds.
real_wait() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "no success in time: $*"; tail -n 5 "$REAL_DIR"/*.log; return 1; }
        sleep 0.1
    done
}

# real_package SUITE PACKAGES FOLDER: unpacks packages of Debian, from the mirror that apt uses, with its signature
# checked, and without installing anything.
real_package() {
    local suite=$1 packages=$2 folder=$3 mirror work
    mirror=$(awk '$1 == "URIs:" { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
    [ -n "$mirror" ] || mirror=$(awk '$1 == "deb" && /http/ { for (i = 2; i <= NF; i++) if ($i ~ /^http/) { print $i; exit } }' /etc/apt/sources.list 2>/dev/null || true)
    [ -n "$mirror" ] || { echo "apt has no mirror of Debian here"; return 1; }
    work=$(mktemp -d)
    chmod 755 "$work"
    mkdir -p "$work/lists/partial" "$work/packages" "$folder"
    chown -R _apt "$work" 2>/dev/null || true
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
    local options=(-qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o Acquire::Languages=none)
    local failed=0
    {
        apt-get "${options[@]}" update &&
            (cd "$work/packages" && apt-get "${options[@]}" download $packages) &&
            (for file in "$work"/packages/*.deb; do dpkg-deb -x "$file" "$folder" || exit 1; done)
    } || failed=1
    rm -rf "$work"
    [ $failed = 0 ] || echo "Debian $suite has no $packages to be had"
    return $failed
}
