package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"
)

// wanOrder is one request on the control socket: a line of JSON, answered by one.
type wanOrder struct {
	Op           string       `json:"op"`    // show, set, cut, mend, reset, scan
	Links        []wanLinkKey `json:"links"` // of set, cut and mend
	DelayMicros  *int64       `json:"delayMicros,omitempty"`
	JitterMicros *int64       `json:"jitterMicros,omitempty"`
	Loss         *float64     `json:"loss,omitempty"`
}

type wanLinkKey struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// wanAnswer is how things stand after the order, or why it was refused.
type wanAnswer struct {
	Error   string           `json:"error,omitempty"`
	Regions []wanRegionState `json:"regions,omitempty"`
	Links   []wanLinkState   `json:"links,omitempty"`
}

type wanRegionState struct {
	Name     string `json:"name"`
	Attached bool   `json:"attached"`
}

type wanLinkState struct {
	wanLink
	Normal  linkSettings `json:"normal"`
	Packets uint64       `json:"packets"` // delivered
	Bytes   uint64       `json:"bytes"`
	Dropped struct {
		Loss     uint64 `json:"loss"`
		Cut      uint64 `json:"cut"`
		Overflow uint64 `json:"overflow"`
		Away     uint64 `json:"away"`
	} `json:"dropped"`
}

const (
	orderTimeout  = 5 * time.Second
	maxOrderBytes = 64 * 1024
)

func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// Whoever listened there before has ended: the supervisor runs one at a time.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(path, 0o600)
}

func (w *wan) serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Printf("control: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer connection.Close()
			connection.SetDeadline(time.Now().Add(orderTimeout))
			var order wanOrder
			decoder := json.NewDecoder(io.LimitReader(connection, maxOrderBytes))
			decoder.DisallowUnknownFields()
			answer := wanAnswer{}
			if err := decoder.Decode(&order); err != nil {
				answer.Error = "not an order: " + err.Error()
			} else if err := w.obey(order); err != nil {
				answer.Error = err.Error()
			} else {
				answer = w.state()
			}
			if err := json.NewEncoder(connection).Encode(answer); err != nil {
				log.Printf("control: %v", err)
			}
		}()
	}
}

// obey carries an order out whole, or not at all.
func (w *wan) obey(order wanOrder) error {
	w.ordering.Lock()
	defer w.ordering.Unlock()
	switch order.Op {
	case "show":
		return nil
	case "scan":
		w.scan()
		return nil
	case "reset":
		return w.change(w.links, func(l *link, _ linkSettings) linkSettings { return l.normal })
	}
	change, known := map[string]func(*link, linkSettings) linkSettings{
		"cut":  func(_ *link, s linkSettings) linkSettings { s.Down = true; return s },
		"mend": func(_ *link, s linkSettings) linkSettings { s.Down = false; return s },
		"set":  func(_ *link, s linkSettings) linkSettings { return order.over(s) },
	}[order.Op]
	if !known {
		return fmt.Errorf("unknown order %q", order.Op)
	}
	links, err := w.named(order.Links)
	if err != nil {
		return err
	}
	return w.change(links, change)
}

// over gives the settings with what the order names in place of what was.
func (order wanOrder) over(s linkSettings) linkSettings {
	if order.DelayMicros != nil {
		s.DelayMicros = *order.DelayMicros
	}
	if order.JitterMicros != nil {
		s.JitterMicros = *order.JitterMicros
	}
	if order.Loss != nil {
		s.Loss = *order.Loss
	}
	return s
}

func (w *wan) named(keys []wanLinkKey) ([]*link, error) {
	if len(keys) == 0 {
		return nil, errors.New("no link is named")
	}
	var links []*link
	for _, key := range keys {
		found := len(links)
		for _, l := range w.links {
			if l.from.Name == key.From && l.to.Name == key.To {
				links = append(links, l)
			}
		}
		if len(links) == found {
			return nil, fmt.Errorf("there is no link %s>%s", key.From, key.To)
		}
	}
	return links, nil
}

func (w *wan) change(links []*link, to func(*link, linkSettings) linkSettings) error {
	changed := make([]linkSettings, len(links))
	for i, l := range links {
		changed[i] = to(l, *l.settings.Load())
		if err := changed[i].check(); err != nil {
			return fmt.Errorf("%s: %w", l.name(), err)
		}
	}
	before := make([]*linkSettings, len(links))
	for i, l := range links {
		before[i] = l.settings.Swap(&changed[i])
	}
	if err := w.saveState(); err != nil {
		for i, l := range links {
			l.settings.Store(before[i])
		}
		return err
	}
	return nil
}

func (w *wan) state() wanAnswer {
	var answer wanAnswer
	for _, e := range w.endpoints {
		answer.Regions = append(answer.Regions, wanRegionState{e.Name, e.device.Load() != nil})
	}
	for _, l := range w.links {
		s := wanLinkState{wanLink: wanLink{l.from.Name, l.to.Name, *l.settings.Load()}, Normal: l.normal}
		s.Packets, s.Bytes = l.packets.Load(), l.octets.Load()
		s.Dropped.Loss, s.Dropped.Cut = l.lost.Load(), l.cut.Load()
		s.Dropped.Overflow, s.Dropped.Away = l.overflow.Load(), l.awayN.Load()
		answer.Links = append(answer.Links, s)
	}
	return answer
}

// saveState keeps what differs from the configuration. A cut that mended itself because this process was killed would
// make a drill say what is not so.
func (w *wan) saveState() error {
	kept := []wanLink{}
	for _, l := range w.links {
		if s := *l.settings.Load(); s != l.normal {
			kept = append(kept, wanLink{l.from.Name, l.to.Name, s})
		}
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(w.config.State), 0o700); err != nil {
		return err
	}
	temporary := w.config.State + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, w.config.State)
}

func (w *wan) loadState() error {
	text, err := os.ReadFile(w.config.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept []wanLink
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("%s: %w", w.config.State, err)
	}
	for _, k := range kept {
		links, err := w.named([]wanLinkKey{{k.From, k.To}})
		if err == nil {
			err = k.check()
		}
		if err != nil {
			log.Printf("%s: %v; left out", w.config.State, err)
			continue
		}
		links[0].settings.Store(&k.linkSettings)
	}
	return nil
}
