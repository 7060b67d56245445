// Command hostkit holds the small programs an embedded region needs beside Kubernetes. It uses Go's standard library
// alone, so that a process of it costs a few MiB and the image of the pause container is this one static file.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `hostkit pause                       wait for SIGTERM, reaping children (a pod's sandbox; a region's mount namespace)
hostkit relay --config FILE         carry connections between the host's loopback and a region's network namespace
hostkit lookup SERVER NAME          the addresses that a DNS server (address:port) gives for a full name
hostkit wan --config FILE           the network between regions: delay, jitter, loss, cuts
hostkit pki --config FILE           make the certificates that are missing, outdated or changed
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"pause"} // as the entry point of the pause image
	}
	var err error
	switch args[0] {
	case "pause":
		pause(ctx)
	case "relay":
		err = withConfig(args[1:], func(c relayConfig) error { return relay(ctx, c) })
	case "lookup":
		err = lookup(ctx, args[1:])
	case "wan":
		err = superviseWAN(ctx, args[1:])
	case "wan-worker": // started by wan
		err = withConfig(args[1:], func(c wanConfig) error { return runWAN(ctx, c) })
	case "pki":
		err = withConfig(args[1:], makePKI)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostkit "+args[0]+":", err)
		os.Exit(1)
	}
}

func lookup(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("expected SERVER NAME, got %q", args)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, args[0])
	}}
	addresses, err := resolver.LookupHost(ctx, args[1]+".")
	if err == nil {
		fmt.Println(strings.Join(addresses, " "))
	}
	return err
}
