# Sourced by `demo` and `test`: finds the Rust toolchain and, on Debian, installs what building and testing need besides it.
#
# A fresh Debian with rustup has no C compiler; rustc needs one to link, and the bundled SQLite and jemalloc are C source,
# the latter built with make. Nothing is touched if everything is there.

# Ends the script with a message that says what to do.
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

require_cargo() {
    local home="${CARGO_HOME:-${HOME:-/root}/.cargo}"
    if ! command -v cargo >/dev/null && [ -x "$home/bin/cargo" ]; then
        export PATH="$home/bin:$PATH"
    fi
    command -v cargo >/dev/null ||
        fail "no cargo in PATH or in $home/bin; install Rust from https://rustup.rs and try again"
}

# Whether a C program that includes a libc header compiles and links.
can_compile_c() {
    command -v cc >/dev/null &&
        printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' |
        cc -x c -o /dev/null - 2>/dev/null
}

# Installs the Debian packages in "$@". Services that come with them are not started.
install_packages() {
    command -v apt-get >/dev/null || fail "missing: $*; install them (or what your system calls them) and try again"
    [ "$(id -u)" = 0 ] || fail "missing: $*; run 'apt-get install $*' as root, or run this as root"
    printf 'installing %s\n' "$*"
    local log policy=/usr/sbin/policy-rc.d
    log="$(mktemp)"
    # Debian's way to say that a package's service must not be started; an administrator's own word on it stands.
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log" ${policy:+"$policy"}
        fail "apt-get could not install $*; is this machine offline?"
    fi
    rm -f "$log" ${policy:+"$policy"}
}

prepare_toolchain() {
    require_cargo
    local missing=()
    can_compile_c || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    # Without these, cargo cannot check who it downloads the locked crates from.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -n "${SSL_CERT_FILE:-}" ] || missing+=(ca-certificates)
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
    can_compile_c || fail "cc still cannot compile a small C program; see what 'cc --version' says"
}

# What the tests run against besides the engine: a database, a broker, the original's process supervisor, a browser with
# its driver, openssl to make certificates, libfaketime to skew a clock, and Python with the libraries that its users' scripts
# import. Only the programs are needed; the tests start instances of their own.
prepare_services() {
    local missing=()
    [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server)
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
    [ -e /usr/lib/"$(uname -m)"-linux-gnu/faketime ] || missing+=(libfaketime)
    [ -x /usr/bin/supervisord ] || missing+=(supervisor)
    command -v openssl >/dev/null || missing+=(openssl)
    [ -x /usr/bin/chromedriver ] || missing+=(chromium chromium-driver fonts-dejavu-core)
    has_python_module pika || missing+=(python3-pika)
    has_python_module pymysql || missing+=(python3-pymysql)
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
}

# Debian's own Python: another one in PATH does not see Debian's modules.
has_python_module() {
    [ -x /usr/bin/python3 ] && /usr/bin/python3 -c "import $1" >/dev/null 2>&1
}
