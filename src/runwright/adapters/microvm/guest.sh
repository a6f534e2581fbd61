#!/runwright/busybox sh
# The first process of a machine: mounts what there is, waits for orders, runs steps. Every tool is busybox's.
own=/runwright/bin
export PATH=$own
user=1000
run=/run/runwright
group=/sys/fs/cgroup/step

/runwright/busybox mkdir -p $own /proc /sys /dev /run /tmp /work /etc /bin /usr/bin
/runwright/busybox --install -s $own
chmod 755 /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -sf /proc/self/fd/${n%:*} /dev/${n#*:}; done
echo -1000 >/proc/self/oom_score_adj
echo 1 >/proc/sys/vm/overcommit_memory # a step is bounded by its group, as elsewhere

for place in /bin/sh /bin/busybox /usr/bin/env; do
    [ -e $place ] || ln -s /runwright/busybox $place
done
grep -qs '^root:' /etc/passwd || echo 'root:x:0:0:root:/:/bin/sh' >>/etc/passwd
grep -qs '^root:' /etc/group || echo 'root:x:0:' >>/etc/group
grep -v "^runwright:" /etc/passwd >/etc/passwd.new
echo "runwright:x:$user:$user::/tmp:/bin/sh" >>/etc/passwd.new
mv /etc/passwd.new /etc/passwd
grep -qs "^[^:]*:[^:]*:$user:" /etc/group || echo "runwright:x:$user:" >>/etc/group
hostname runwright
ip link set lo up

for module in $(cat /runwright/modules/order); do insmod /runwright/modules/$module; done
# A device can be there a moment before it can be opened.
open_line() {
    device=$(echo /dev/vport*p"$1")
    [ -c "$device" ] && eval "command exec $(($1 + 2))<>$device"
} 2>/dev/null
for line in 1 2 3; do until open_line $line; do usleep 5000; done; done
until [ -b /dev/vda ]; do usleep 5000; done
mount -t ext4 -o noatime,nosuid,nodev,noinit_itable /dev/vda /work || exit
rmdir /work/lost+found 2>/dev/null

mount -t cgroup2 -o nosuid,nodev,noexec cgroup /sys/fs/cgroup || exit
echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
mkdir $group

# A network of QEMU's own. Its gateway would lead to the machine outside, so packets go by the way of its name server.
open_network() {
    ip link set eth0 up
    ip addr add 10.0.2.15/24 dev eth0
    ip route add default via 10.0.2.3
    ip route add prohibit 10.0.2.2
    echo 'nameserver 10.0.2.3' >/etc/resolv.conf
}

killed() { while read -r name count; do [ "$name" = oom_kill ] && echo "$count"; done <$group/memory.events; }

is_busy() { read -r _ <$group/cgroup.procs; }

terminate() { while read -r pid; do kill -TERM "$pid"; kill -CONT "$pid"; done <$group/cgroup.procs; }

# Give what is left of a step a moment.
linger() { n=0; while [ $n -lt 20 ] && is_busy; do usleep 5000; n=$((n + 1)); done; }

settle() {
    linger
    is_busy && { terminate; linger; }
    while is_busy; do echo 1 >$group/cgroup.kill; usleep 2000; done
} 2>/dev/null

# Hear orders while a step runs.
watch() {
    while read -r order _ <&3; do
        case $order in
        term) terminate 2>/dev/null ;;
        kill) echo 1 >$group/cgroup.kill ;;
        esac
    done
}

become() {
    echo 0 >$group/cgroup.procs
    echo 0 >/proc/self/oom_score_adj
    exec 3>&- 4>&- 5>&-
    exec su -s $own/sh runwright $run/launcher
}

step() {
    nonce=$1
    head -c $(($2 + $3)) <&3 >$run/order
    head -c "$2" $run/order >$run/launcher
    tail -c "$3" $run/order >$run/script
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp /tmp
    mount -t tmpfs -o mode=1777,nosuid,nodev shm /dev/shm
    mkfifo -m 600 $run/out $run/err
    chown $user:$user $run/out $run/err
    cat $run/out >&4 &
    out=$!
    cat $run/err >&5 &
    err=$!
    before=$(killed)
    watch &
    watcher=$!
    (become) </dev/null >$run/out 2>$run/err
    code=$?
    settle
    wait $out $err
    kill $watcher
    wait $watcher
    umount /tmp /dev/shm
    rm -f $run/order $run/launcher $run/script $run/out $run/err
    sync
    printf '\0%s\0' "$nonce" >&4
    printf '\0%s\0' "$nonce" >&5
    echo "ended $nonce $code $(($(killed) - before))" >&3
} 2>/dev/console

setup() {
    echo "$1" >$group/memory.max
    echo "$2" >$group/pids.max
    echo "$3 100000" >$group/cpu.max
    [ "$4" = 1 ] && open_network
    mkdir -p $run
    echo ready >&3
}

while read -r order one two three four <&3; do
    case $order in
    setup) setup "$one" "$two" "$three" "$four" ;;
    step) step "$one" "$two" "$three" ;;
    esac
done
