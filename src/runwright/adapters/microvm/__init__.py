"""Steps of jobs in a virtual machine: QEMU's `microvm`, a Linux kernel, busybox, and an agent that is a shell script."""
