package main

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testWAN(t *testing.T, settings linkSettings) *wan {
	t.Helper()
	c := wanConfig{Control: filepath.Join(t.TempDir(), "control.sock"), State: filepath.Join(t.TempDir(), "state.json")}
	for i, name := range []string{"a", "b"} {
		c.Regions = append(c.Regions, wanRegion{name, "/nowhere/" + name, "wan0", []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}})
	}
	c.Links = []wanLink{{"a", "b", settings}, {"b", "a", settings}}
	w, err := newWAN(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func packetTo(destination ...byte) []byte {
	return append(append([]byte{0x45, 15: 0}, destination...), 1, 2, 3)
}

func TestPacketsTakeTheLinkOfTheirDestination(t *testing.T) {
	w := testWAN(t, linkSettings{})
	a, b := w.endpoints[0], w.endpoints[1]
	if l := w.linkFor(a, packetTo(10, 1, 2, 3)); l == nil || l.name() != "a>b" {
		t.Errorf("from a to b by %v", l)
	}
	for what, packet := range map[string][]byte{
		"to itself": packetTo(10, 0, 0, 1), "elsewhere": packetTo(192, 168, 0, 1), "short": {0x45}, "none": {},
		"IPv6": append([]byte{0x60}, make([]byte, 60)...),
	} {
		if l := w.linkFor(a, packet); l != nil {
			t.Errorf("%s: goes by %s", what, l.name())
		}
	}
	if l := w.linkFor(b, packetTo(10, 0, 0, 1)); l == nil || l.name() != "b>a" {
		t.Errorf("from b to a by %v", l)
	}
}

func TestDelayVariesWithinTheJitterAndKeepsTheOrder(t *testing.T) {
	w := testWAN(t, linkSettings{DelayMicros: 20_000, JitterMicros: 2_000})
	l := w.links[0]
	now := time.Now()
	var sum, low, high time.Duration = 0, time.Hour, 0
	const count = 4_000
	last := time.Time{}
	for range count {
		l.send(packetTo(10, 1, 0, 1), now)
		p := <-l.queue
		if p.at.Before(last) {
			t.Fatal("a packet overtakes another one")
		}
		last = p.at
		took := p.at.Sub(now)
		sum, low, high = sum+took, min(low, took), max(high, took)
		now = now.Add(jitterWindow + time.Millisecond)
	}
	if mean := sum / count; mean < 19_900*time.Microsecond || mean > 20_100*time.Microsecond {
		t.Errorf("the mean is %s", mean)
	}
	if low < 18*time.Millisecond || high > 22*time.Millisecond || high-low < 3*time.Millisecond {
		t.Errorf("from %s to %s", low, high)
	}
	// A burst, and a delay that becomes shorter while packets are under way.
	for i := range 500 {
		if i == 250 {
			l.settings.Store(&linkSettings{})
		}
		l.send(packetTo(10, 1, 0, 1), now)
		p := <-l.queue
		if p.at.Before(last) {
			t.Fatal("a packet overtakes another one")
		}
		last = p.at
		now = now.Add(50 * time.Microsecond)
	}
}

func TestLossCutsAndTheBoundAreCounted(t *testing.T) {
	w := testWAN(t, linkSettings{Loss: 0.1})
	l := w.links[0]
	now := time.Now()
	const count = 20_000
	for range count {
		l.send(packetTo(10, 1, 0, 1), now)
		select {
		case <-l.queue:
		default:
		}
	}
	if lost := l.lost.Load(); lost < count*8/100 || lost > count*12/100 { // more than 8 standard deviations
		t.Errorf("%d of %d lost at 10 %%", lost, count)
	}
	l.settings.Store(&linkSettings{Down: true})
	l.send(packetTo(10, 1, 0, 1), now)
	if len(l.queue) != 0 || l.cut.Load() != 1 {
		t.Error("a cut link takes packets")
	}
	l.settings.Store(&linkSettings{})
	for range queuePackets + 7 {
		l.send(packetTo(10, 1, 0, 1), now)
	}
	if len(l.queue) != queuePackets || l.overflow.Load() != 7 {
		t.Errorf("%d wait, %d are over the bound", len(l.queue), l.overflow.Load())
	}
}

func TestPacketsArriveInTimeUnlessTheLinkWasCutMeanwhile(t *testing.T) {
	w := testWAN(t, linkSettings{DelayMicros: 20_000})
	l := w.links[0]
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	l.to.device.Store(write)
	go l.deliver()
	defer close(l.queue)
	buffer := make([]byte, 100)
	sent := time.Now()
	l.send(packetTo(10, 1, 0, 1), sent)
	if _, err := read.Read(buffer); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(sent); took < 20*time.Millisecond {
		t.Errorf("a packet arrived after %s", took)
	}
	l.send(packetTo(10, 1, 0, 1), time.Now())
	l.settings.Store(&linkSettings{DelayMicros: 20_000, Down: true})
	for l.cut.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if l.packets.Load() != 1 {
		t.Errorf("%d packets arrived", l.packets.Load())
	}
}

func order(t *testing.T, w *wan, text string) wanAnswer {
	t.Helper()
	connection, err := net.Dial("unix", w.config.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(text + "\n")); err != nil {
		t.Fatal(err)
	}
	var answer wanAnswer
	if err := json.NewDecoder(connection).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestOrders(t *testing.T) {
	normal := linkSettings{DelayMicros: 14_000, JitterMicros: 1_000, Loss: 0.0001}
	w := testWAN(t, normal)
	listener, err := listenControl(w.config.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go w.serve(listener)
	if info, err := os.Stat(w.config.Control); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v)", info.Mode(), err)
	}
	if a := order(t, w, `{"op":"cut","links":[{"from":"a","to":"b"}]}`); !a.Links[0].Down || a.Links[1].Down {
		t.Errorf("cut: %+v", a)
	}
	a := order(t, w, `{"op":"set","links":[{"from":"b","to":"a"}],"delayMicros":30000,"loss":0.01}`)
	if got, want := a.Links[1].linkSettings, (linkSettings{30_000, 1_000, 0.01, false}); got != want {
		t.Errorf("set: %+v", got)
	}
	for text, want := range map[string]string{
		`{"op":"set","links":[{"from":"a","to":"b"},{"from":"b","to":"a"}],"delayMicros":500}`: "a>b: a jitter of 1000",
		`{"op":"set","links":[{"from":"a","to":"b"}],"loss":1.5}`:                              "loss of 1.5",
		`{"op":"set","links":[{"from":"a","to":"b"}],"delayMicros":10000001}`:                  "a delay of",
		`{"op":"cut","links":[{"from":"a","to":"c"}]}`:                                         "no link a>c",
		`{"op":"cut"}`:       "no link is named",
		`{"op":"burn"}`:      `unknown order "burn"`,
		`{"op":"cut","x":1}`: "not an order",
		`cut a`:              "not an order",
	} {
		if a := order(t, w, text); !strings.Contains(a.Error, want) {
			t.Errorf("%s: %q", text, a.Error)
		}
	}
	// Another process goes on from there.
	again, err := newWAN(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if !again.links[0].settings.Load().Down || again.links[1].settings.Load().DelayMicros != 30_000 {
		t.Errorf("kept: %+v", again.state().Links)
	}
	order(t, w, `{"op":"mend","links":[{"from":"a","to":"b"}]}`)
	if got := order(t, w, `{"op":"show"}`).Links[0].linkSettings; got != normal {
		t.Errorf("mend: %+v", got)
	}
	order(t, w, `{"op":"reset"}`)
	for _, l := range order(t, w, `{"op":"show"}`).Links {
		if l.linkSettings != normal {
			t.Errorf("reset: %+v", l)
		}
	}
	if text, _ := os.ReadFile(w.config.State); string(text) != "[]" {
		t.Errorf("kept after a reset: %s", text)
	}
}

func TestConfigurationsThatMakeNoSenseAreRefused(t *testing.T) {
	good := testWAN(t, linkSettings{}).config
	for want, spoil := range map[string]func(*wanConfig){
		"named twice":       func(c *wanConfig) { c.Links = append(c.Links, c.Links[0]) },
		"must be regions":   func(c *wanConfig) { c.Links = append(c.Links, wanLink{From: "a", To: "c"}) },
		"a loss of -1":      func(c *wanConfig) { c.Links = []wanLink{{"a", "b", linkSettings{Loss: -1}}} },
		"region a is named": func(c *wanConfig) { c.Regions = append(c.Regions, c.Regions[0]) },
		"state.json":        func(c *wanConfig) { os.WriteFile(c.State, []byte("{"), 0o600) },
	} {
		c := good
		spoil(&c)
		if _, err := newWAN(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
