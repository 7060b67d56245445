package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
	// calm is how long a process has to run for its end to count as the first one.
	calm = 10 * time.Second
	// stopPatience is how long a process may take to end when it is asked to.
	stopPatience = 2 * time.Second
)

// superviseWAN runs the emulator as a process of its own and starts it again whenever it ends. Without the emulator no
// region reaches another one, and nobody else would notice.
func superviseWAN(ctx context.Context, args []string) error {
	// A broken configuration is said at once and not over and over.
	if err := withConfig(args, func(c wanConfig) error { _, err := newWAN(c); return err }); err != nil {
		return err
	}
	// The child is told to end with the thread that has started it: keep that one.
	runtime.LockOSThread()
	pause := firstPause
	for {
		started := time.Now()
		child := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"wan-worker"}, args...)...)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
		child.WaitDelay = stopPatience
		err := child.Run()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if time.Since(started) > calm {
			pause = firstPause
		}
		log.Printf("the emulator has ended: %v; again in %s", err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longPause)
	}
}
