package main

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// queuePackets bounds what waits on one link: 12 MiB of full packets, more than 40 ms at 2 Gbit/s.
	queuePackets = 8192
	// jitterWindow is how long one deviation of the delay lasts. Packets of a burst share it, as behind one router's
	// queue; drawn for each packet, keeping the order would turn all jitter into more delay.
	jitterWindow = 10 * time.Millisecond
)

// link is one direction between two regions. Packets leave it in the order in which they came, so every flow keeps its
// own; what is over the bound is dropped as a router would.
type link struct {
	from, to *endpoint
	normal   linkSettings // as configured
	settings atomic.Pointer[linkSettings]
	queue    chan packet

	sending     sync.Mutex
	lastAt      time.Time
	jitter      time.Duration
	jitterUntil time.Time

	packets, octets            atomic.Uint64 // delivered
	lost, cut, overflow, awayN atomic.Uint64 // dropped: by chance, while cut, over the bound, with nobody there
}

type packet struct {
	at   time.Time // when it arrives
	data []byte
}

func newLink(from, to *endpoint, settings linkSettings) *link {
	l := &link{from: from, to: to, normal: settings, queue: make(chan packet, queuePackets)}
	l.settings.Store(&settings)
	return l
}

func (l *link) name() string { return l.from.Name + ">" + l.to.Name }

// send puts a copy of the packet on its way.
func (l *link) send(data []byte, now time.Time) {
	s := l.settings.Load()
	if s.Down {
		l.cut.Add(1)
		return
	}
	if s.Loss > 0 && rand.Float64() < s.Loss {
		l.lost.Add(1)
		return
	}
	l.sending.Lock()
	defer l.sending.Unlock()
	p := packet{l.arrival(s, now), bytes.Clone(data)}
	select {
	case l.queue <- p:
		l.lastAt = p.at
	default:
		l.overflow.Add(1)
	}
}

// arrival never lies before that of an earlier packet.
func (l *link) arrival(s *linkSettings, now time.Time) time.Time {
	if now.After(l.jitterUntil) {
		l.jitter = time.Duration((2*rand.Float64() - 1) * float64(s.JitterMicros) * float64(time.Microsecond))
		l.jitterUntil = now.Add(jitterWindow)
	}
	at := now.Add(time.Duration(s.DelayMicros)*time.Microsecond + l.jitter)
	if at.Before(l.lastAt) {
		return l.lastAt
	}
	return at
}

// deliver hands packets over when their time has come.
func (l *link) deliver() {
	for p := range l.queue {
		sleepUntil(p.at)
		if l.settings.Load().Down { // what was under way when the link was cut is lost as well
			l.cut.Add(1)
			continue
		}
		device := l.to.device.Load()
		if device == nil {
			l.awayN.Add(1)
			continue
		}
		if _, err := device.Write(p.data); err != nil { // the device is down or just closed
			l.awayN.Add(1)
			continue
		}
		l.packets.Add(1)
		l.octets.Add(uint64(len(p.data)))
	}
}

// sleepUntil is exact to some 60 µs. A sleep of Go's own waits in epoll, in whole milliseconds when nothing else runs.
func sleepUntil(at time.Time) {
	for {
		left := time.Until(at)
		if left <= 0 {
			return
		}
		t := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&t, nil) // a signal may end it early
	}
}
