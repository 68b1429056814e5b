#!/usr/bin/env bash
# Runs tests in a virtual machine: Debian's own kernel, with control groups of version 2 alone, whatever this machine
# has. `vm.sh VENV TEST...`; as root, with qemu-system-x86 and debootstrap. The processor is emulated, which is
# slow (the tests of `make test-vm` take twenty minutes), unless ACCEL=kvm. Everything lies in build/vm; the Debian in it is kept for the next time.
set -eu
cd "$(dirname "$0")/.."
venv=$1
shift
vm=build/vm
root=$vm/root
packages=linux-image-cloud-amd64,initramfs-tools,python3,containerd,runc,crun,containernetworking-plugins,nftables
packages=$packages,conntrack,iproute2,busybox-static,procps,util-linux,kmod,ca-certificates,etcd-server
if [ ! -e $vm/.debian ]; then
  rm -rf $vm
  mkdir -p $vm
  echo "Making a Debian in $root"
  debootstrap --variant=minbase --include=$packages bookworm $root http://deb.debian.org/debian > $vm/debootstrap.log
  touch $vm/.debian
fi

# --- what is tested ---
rm -rf $root/tiphys
mkdir $root/tiphys
cp -r src tests examples docs pyproject.toml README.md Makefile $root/tiphys/
cp -r "$venv"/lib/python3.11/site-packages $root/tiphys/site
cp "$(readlink -f "$(command -v kubectl)")" $root/usr/local/bin/kubectl
cat > $root/usr/bin/tiphys <<'END'
#!/usr/bin/python3
import sys
from tiphys.cli.main import main
sys.exit(main())
END
cat > $root/init.sh <<END
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export PYTHONPATH=/tiphys/src:/tiphys/site:/tiphys
mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
hostname vm
ip link set lo up
dd if=/dev/zero of=/swap bs=1M count=512 status=none && chmod 600 /swap && mkswap -q /swap && swapon /swap
for module in overlay veth nf_tables nf_conntrack; do modprobe \$module; done
cd /tiphys
echo "Kernel \$(uname -r), controllers \$(cat /sys/fs/cgroup/cgroup.controllers)"
python3 -m pytest -m "" --durations=5 -p no:cacheprovider $*
echo "The tests ended with \$?."
sync
echo o > /proc/sysrq-trigger
sleep 60
END
chmod +x $root/init.sh $root/usr/bin/tiphys

# --- the machine ---
rm -f $vm/disk.img
truncate -s 8G $vm/disk.img
mkfs.ext4 -q -d $root $vm/disk.img
qemu-system-x86_64 -machine q35 -accel "${ACCEL:-tcg}" -cpu max -smp 2 -m 4096 -nographic -no-reboot -nic none \
  -kernel $root/boot/vmlinuz-* -initrd $root/boot/initrd.img-* \
  -append "root=/dev/vda rw console=ttyS0 init=/init.sh quiet panic=-1" \
  -drive file=$vm/disk.img,format=raw,if=virtio,cache=unsafe < /dev/null | tee $vm/log
rm -f $vm/disk.img
grep -q "The tests ended with 0\." $vm/log
