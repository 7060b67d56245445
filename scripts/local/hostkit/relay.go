package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// relayConfig describes one region's relay. There is no network link between host and region: a connection accepted on
// the host is carried to a socket that was opened inside the region's network namespace.
type relayConfig struct {
	Netns   string        `json:"netns"`   // path of the region's network namespace; opened anew for each connection, so a namespace made again is found
	DNS     string        `json:"dns"`     // address:port of the region's DNS server, asked inside the namespace
	Logs    logBound      `json:"logs"`    // log files this process keeps bounded
	Targets []relayTarget `json:"targets"` // what is carried where
}

type relayTarget struct {
	Listen        string `json:"listen"`        // address:port on the host
	Target        string `json:"target"`        // host:port in the region; a name is looked up at DNS for each connection
	ProxyProtocol bool   `json:"proxyProtocol"` // send a PROXY protocol v2 header with the client's address first
}

const dialTimeout = 5 * time.Second

func relay(ctx context.Context, c relayConfig) error {
	var running sync.WaitGroup
	for _, target := range c.Targets {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", target.Listen)
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w", target.Listen, err)
		}
		context.AfterFunc(ctx, func() { listener.Close() })
		running.Add(1)
		go func() {
			defer running.Done()
			serve(ctx, c, target, listener)
		}()
	}
	go c.Logs.keep(ctx)
	running.Wait()
	return nil
}

func serve(ctx context.Context, c relayConfig, target relayTarget, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, for one: better late than never
			log.Printf("%s: accept: %v", target.Listen, err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer client.Close()
			server, err := dial(ctx, c, target)
			if err != nil {
				log.Printf("%s: %v", target.Listen, err)
				return
			}
			defer server.Close()
			if target.ProxyProtocol {
				if _, err := server.Write(proxyHeader(client.RemoteAddr().(*net.TCPAddr), client.LocalAddr().(*net.TCPAddr))); err != nil {
					return
				}
			}
			carry(ctx, client.(*net.TCPConn), server.(*net.TCPConn))
		}()
	}
}

// carry copies both ways until both are done, passing on each side's half close.
func carry(ctx context.Context, a, b *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Add(2)
	half := func(to, from *net.TCPConn) {
		defer both.Done()
		if _, err := io.Copy(to, from); err != nil {
			to.Close() // broken rather than finished: let the other half end too
			from.Close()
			return
		}
		to.CloseWrite()
	}
	go half(a, b)
	go half(b, a)
	both.Wait()
}

func dial(ctx context.Context, c relayConfig, target relayTarget) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target.Target)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialInside(ctx, c.Netns, network, c.DNS)
		}}
		lookup, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		addresses, err := resolver.LookupIP(lookup, "ip4", host+".")
		if err != nil {
			return nil, err
		}
		host = addresses[0].String()
	}
	return dialInside(ctx, c.Netns, "tcp4", net.JoinHostPort(host, port))
}

// dialInside opens a connection whose socket belongs to the network namespace. A socket stays in the namespace in which
// it was made, so the thread needs to be there only while it dials; the address has to be a literal one, because the
// dialer then makes the socket on the calling thread.
func dialInside(ctx context.Context, netns, network, address string) (conn net.Conn, err error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: a thread that has changed its namespace ends with its goroutine instead of being used again.
		runtime.LockOSThread()
		err := enter(netns)
		if err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

const sysSetns = 308 // linux/amd64; the syscall package stops short of it

func enter(netns string) error {
	file, err := os.Open(netns)
	if err != nil {
		return fmt.Errorf("the region's network namespace is not there: %w", err)
	}
	defer file.Close()
	if _, _, errno := syscall.RawSyscall(sysSetns, file.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
		return fmt.Errorf("setns %s: %w", netns, errno)
	}
	return nil
}

// proxyHeader is the PROXY protocol's version 2 header for TCP over IPv4.
func proxyHeader(from, to *net.TCPAddr) []byte {
	header := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")
	header = append(header, from.IP.To4()...)
	header = append(header, to.IP.To4()...)
	header = binary.BigEndian.AppendUint16(header, uint16(from.Port))
	return binary.BigEndian.AppendUint16(header, uint16(to.Port))
}
