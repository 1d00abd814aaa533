# Sourced by `run`: two foreign clients of Eureka, and a server in memory, since none of Netflix's can be had here.

eureka_get() {
    local folder
    folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/real/eureka")
    mkdir -p "$folder/node"
    command -v python3 >/dev/null && command -v npm >/dev/null || { echo "no python3 or no npm"; return 1; }
    if [ ! -e "$folder/python/bin/python" ] || ! "$folder/python/bin/python" -c 'import py_eureka_client' 2>/dev/null; then
        python3 -m venv "$folder/python" &&
            "$folder/python/bin/pip" -q install py-eureka-client==0.13.3 || return 1
    fi
    [ -e "$folder/node/node_modules/eureka-js-client" ] ||
        npm install --silent --no-audit --no-fund --prefix "$folder/node" eureka-js-client@4.5.0 >/dev/null || return 1
    EUREKA_FOLDER=$folder
}

eureka_run() {
    local port
    port=$(real_ports 1)
    real_start eureka-server python3 tests/real/eureka_server.py "$port"
    export EUREKA_URL=http://127.0.0.1:$port/eureka
    export EUREKA_PYTHON="$EUREKA_FOLDER/python/bin/python tests/real/eureka_client.py"
    export EUREKA_NODE="node tests/real/eureka_client.js" NODE_PATH=$EUREKA_FOLDER/node/node_modules
    real_wait 20 curl -sf "$EUREKA_URL/apps"
    cargo test --all-features --test discover_eureka real -- --test-threads=1 --nocapture
}
