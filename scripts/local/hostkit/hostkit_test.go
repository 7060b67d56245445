package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestProxyHeader(t *testing.T) {
	got := proxyHeader(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 0x1234}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 443})
	// Signature, version 2 and PROXY, TCP over IPv4, 12 bytes: source, destination, their ports.
	const want = "0d0a0d0a000d0a515549540a" + "21" + "11" + "000c" + "7f000001" + "0a000002" + "1234" + "01bb"
	if hex.EncodeToString(got) != want {
		t.Errorf("%x is not %s", got, want)
	}
}

func TestLogsAreBounded(t *testing.T) {
	folder := t.TempDir()
	large, small := filepath.Join(folder, "large.log"), filepath.Join(folder, "small.log")
	for path, length := range map[string]int{large: 101, small: 100} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), length), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.OpenFile(large, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	logBound{Glob: filepath.Join(folder, "*.log"), MaxBytes: 100}.once()
	writer.WriteString("after") // who holds the file goes on at its new end
	for path, want := range map[string]int{large: 5, large + ".1": 101, small: 100} {
		if text, err := os.ReadFile(path); err != nil || len(text) != want {
			t.Errorf("%s has %d bytes (%v), want %d", path, len(text), err, want)
		}
	}
	if _, err := os.Stat(small + ".1"); err == nil {
		t.Error("a small file was moved")
	}
}

func TestCertificatesAreMadeOnceAndWhenTheyChange(t *testing.T) {
	config := pkiConfig{Directory: t.TempDir(), Authority: "test", KeyPairs: []string{"sa"}, Leaves: []leafSpec{
		{Name: "server", CommonName: "server", Server: true, DNSNames: []string{"localhost"}, IPAddresses: []string{"127.0.0.1"}},
		{Name: "client", CommonName: "client", Organizations: []string{"group"}, Client: true},
	}}
	files := []string{"ca.crt", "ca.key", "server.crt", "server.key", "client.crt", "client.key", "sa.key", "sa.pub"}
	read := func() map[string]string {
		t.Helper()
		if err := makePKI(config); err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, name := range files {
			text, err := os.ReadFile(config.path(name))
			if err != nil {
				t.Fatal(err)
			}
			if info, _ := os.Stat(config.path(name)); info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
			texts[name] = string(text)
		}
		return texts
	}
	changed := func(a, b map[string]string) (names []string) {
		for _, name := range files {
			if a[name] != b[name] {
				names = append(names, name)
			}
		}
		return names
	}
	first := read()
	if names := changed(first, read()); names != nil {
		t.Errorf("made again without a reason: %v", names)
	}
	config.Leaves[0].IPAddresses = append(config.Leaves[0].IPAddresses, "10.0.0.1")
	second := read()
	if names := changed(first, second); len(names) != 2 || names[0] != "server.crt" || names[1] != "server.key" {
		t.Errorf("a new address changed %v", names)
	}
	os.Remove(config.path("client.crt")) // as after a crash between key and certificate
	if names := changed(second, read()); len(names) != 2 || names[0] != "client.crt" {
		t.Errorf("a lost certificate changed %v", names)
	}

	authority, _, err := loadPair(config.path("ca"))
	if err != nil {
		t.Fatal(err)
	}
	server, _, err := loadPair(config.path("server"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	for _, name := range []string{"localhost", "10.0.0.1"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("the server's certificate passes for a client's")
	}
	os.WriteFile(config.path("ca.key"), []byte("broken"), 0o600)
	if err := makePKI(config); err == nil {
		t.Error("a broken authority went unnoticed")
	}
}
