package main

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wanConfig describes the network between the regions of an instance. Each region has a TUN device in its network
// namespace, made beforehand and persistent; whatever a region sends to another one is read here, held back for the
// link's delay and written to the other region's device. Nothing else is joined.
type wanConfig struct {
	Control string      `json:"control"` // path of the unix socket for orders (mode 0600)
	State   string      `json:"state"`   // file that keeps what orders have changed, so that it outlives the process
	Logs    logBound    `json:"logs"`    // log files this process keeps bounded
	Regions []wanRegion `json:"regions"`
	Links   []wanLink   `json:"links"` // every ordered pair of regions
}

type wanRegion struct {
	Name     string         `json:"name"`
	Netns    string         `json:"netns"`    // path of its network namespace; it may come and go
	Device   string         `json:"device"`   // name of the TUN device in it
	Networks []netip.Prefix `json:"networks"` // where packets for the region go
}

type wanLink struct {
	From string `json:"from"`
	To   string `json:"to"`
	linkSettings
}

// linkSettings is what one direction between two regions is like.
type linkSettings struct {
	DelayMicros  int64   `json:"delayMicros"`  // one way
	JitterMicros int64   `json:"jitterMicros"` // the delay varies by up to this, either way
	Loss         float64 `json:"loss"`         // share of packets that never arrive, 0 to 1
	Down         bool    `json:"down"`         // cut: nothing arrives
}

// maxDelayMicros bounds what packets may wait, and with it what has to be kept: twice round the world by satellite.
const maxDelayMicros = 10_000_000

func (s linkSettings) check() error {
	switch {
	case s.DelayMicros < 0 || s.DelayMicros > maxDelayMicros:
		return fmt.Errorf("a delay of %d µs: allowed is 0 to %d", s.DelayMicros, maxDelayMicros)
	case s.JitterMicros < 0 || s.JitterMicros > s.DelayMicros:
		return fmt.Errorf("a jitter of %d µs: allowed is 0 to the delay, %d", s.JitterMicros, s.DelayMicros)
	case !(s.Loss >= 0 && s.Loss <= 1):
		return fmt.Errorf("a loss of %v: allowed is 0 to 1", s.Loss)
	}
	return nil
}

// endpoint is one region's end of the network.
type endpoint struct {
	wanRegion
	device  atomic.Pointer[os.File] // nil while the region is away
	netns   netnsID                 // of the device; guarded by wan.scanning
	trouble string                  // what was logged last, so that it is logged once; guarded by wan.scanning
}

type wan struct {
	config    wanConfig
	endpoints []*endpoint
	links     []*link
	routes    []route
	scanning  sync.Mutex
	ordering  sync.Mutex // one order at a time
}

type route struct {
	prefix netip.Prefix
	to     *endpoint
}

func newWAN(c wanConfig) (*wan, error) {
	w := &wan{config: c}
	byName := map[string]*endpoint{}
	for _, region := range c.Regions {
		e := &endpoint{wanRegion: region}
		if byName[region.Name] != nil {
			return nil, fmt.Errorf("region %s is named twice", region.Name)
		}
		byName[region.Name] = e
		w.endpoints = append(w.endpoints, e)
		for _, prefix := range region.Networks {
			w.routes = append(w.routes, route{prefix, e})
		}
	}
	for _, l := range c.Links {
		from, to := byName[l.From], byName[l.To]
		if from == nil || to == nil || from == to {
			return nil, fmt.Errorf("link %s>%s: both must be regions, and not the same", l.From, l.To)
		}
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("link %s>%s: %w", l.From, l.To, err)
		}
		if w.between(from, to) != nil {
			return nil, fmt.Errorf("link %s>%s is named twice", l.From, l.To)
		}
		w.links = append(w.links, newLink(from, to, l.linkSettings))
	}
	return w, w.loadState()
}

func (w *wan) between(from, to *endpoint) *link {
	for _, l := range w.links {
		if l.from == from && l.to == to {
			return l
		}
	}
	return nil
}

// linkFor gives the link that a packet from a region takes; nil for what leads nowhere: IPv6, other addresses.
func (w *wan) linkFor(from *endpoint, packet []byte) *link {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil
	}
	destination := netip.AddrFrom4([4]byte(packet[16:20]))
	for _, r := range w.routes {
		if r.prefix.Contains(destination) {
			return w.between(from, r.to)
		}
	}
	return nil
}

// maxPacket is more than any MTU of a TUN device.
const maxPacket = 65_535

// receive takes what the region sends, until its device is closed or gone.
func (w *wan) receive(e *endpoint, device *os.File) {
	buffer := make([]byte, maxPacket)
	for {
		n, err := device.Read(buffer)
		if err != nil {
			if e.device.CompareAndSwap(device, nil) {
				log.Printf("%s: its device is gone: %v", e.Name, err)
				device.Close()
			}
			return
		}
		if l := w.linkFor(e, buffer[:n]); l != nil {
			l.send(buffer[:n], time.Now())
		}
	}
}

// scanInterval is how long a region that came or went without a word may go unnoticed.
const scanInterval = time.Second

// scan attaches to the regions that are there and lets go of those that are not. A device's open file keeps its network
// namespace alive: one that was removed ends here.
func (w *wan) scan() {
	w.scanning.Lock()
	defer w.scanning.Unlock()
	for _, e := range w.endpoints {
		id, err := netnsOf(e.Netns)
		if device := e.device.Load(); device != nil && (err != nil || id != e.netns) {
			if e.device.CompareAndSwap(device, nil) {
				device.Close()
				log.Printf("%s: detached", e.Name)
			}
		}
		if err != nil || e.device.Load() != nil {
			continue
		}
		device, err := openTun(e.Netns, e.Device)
		if err != nil {
			if err.Error() != e.trouble {
				e.trouble = err.Error()
				log.Printf("%s: %v", e.Name, err)
			}
			continue
		}
		e.trouble, e.netns = "", id
		e.device.Store(device)
		log.Printf("%s: attached", e.Name)
		go w.receive(e, device)
	}
}

func runWAN(ctx context.Context, c wanConfig) error {
	// Directories and sockets of this process are for root alone, from the moment they are made.
	syscall.Umask(0o077)
	w, err := newWAN(c)
	if err != nil {
		return err
	}
	for _, l := range w.links {
		go l.deliver()
	}
	w.scan()
	listener, err := listenControl(c.Control)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go c.Logs.keep(ctx)
	go w.serve(listener)
	ticker := time.NewTicker(scanInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.scan()
		}
	}
}
