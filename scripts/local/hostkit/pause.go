package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// pause waits for the end. As process 1 of a pod that shares its process namespace it also reaps the orphans.
func pause(ctx context.Context) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ctx.Done():
			return
		case <-children:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}
