package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// netnsID tells one network namespace from a later one at the same path.
type netnsID struct{ device, inode uint64 }

func netnsOf(path string) (netnsID, error) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return netnsID{}, err
	}
	return netnsID{s.Dev, s.Ino}, nil
}

const (
	tunSetIff = 0x400454ca
	iffTun    = 0x0001
	iffNoPI   = 0x1000
)

// openTun opens the TUN device that is in the network namespace. It makes none: whoever makes the region makes its
// device, persistent, so that addresses and routes stay when this process ends.
func openTun(netns, device string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, as in dialInside
		file, err := openTunHere(netns, device)
		done <- result{file, err}
	}()
	r := <-done
	return r.file, r.err
}

func openTunHere(netns, device string) (*os.File, error) {
	if err := enter(netns); err != nil {
		return nil, err
	}
	if _, err := net.InterfaceByName(device); err != nil {
		return nil, fmt.Errorf("%s is not there yet: %w", device, err)
	}
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:syscall.IFNAMSIZ-1], device)
	request.flags = iffTun | iffNoPI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), tunSetIff, uintptr(unsafe.Pointer(&request))); errno != 0 {
		syscall.Close(fd)
		return nil, fmt.Errorf("attaching to %s: %w", device, errno)
	}
	return os.NewFile(uintptr(fd), device), nil
}
