package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// pkiConfig names one certificate authority, what it signs, and key pairs without a certificate.
type pkiConfig struct {
	Directory string     `json:"directory"` // becomes 0700; keys are 0600
	Authority string     `json:"authority"` // common name of ca.crt
	Leaves    []leafSpec `json:"leaves"`
	KeyPairs  []string   `json:"keyPairs"` // NAME.key and NAME.pub, for service account tokens
}

type leafSpec struct {
	Name          string   `json:"name"` // NAME.crt and NAME.key
	CommonName    string   `json:"commonName"`
	Organizations []string `json:"organizations"`
	DNSNames      []string `json:"dnsNames"`
	IPAddresses   []string `json:"ipAddresses"`
	Server        bool     `json:"server"`
	Client        bool     `json:"client"`
}

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 2 * 365 * 24 * time.Hour
	renewBefore   = 60 * 24 * time.Hour // a start this near a certificate's end makes a new one
	backdate      = time.Hour           // a machine's clock may be set back a little
)

func makePKI(c pkiConfig) error {
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return err
	}
	authority, authorityKey, err := loadPair(c.path("ca"))
	if err != nil {
		// Made anew only when it was never made: a new authority under old clients helps nobody, and a broken file is a
		// matter for whoever broke it.
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: c.Authority}, NotAfter: time.Now().Add(authorityLife), IsCA: true, BasicConstraintsValid: true,
			MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		}
		if authority, authorityKey, err = issue(c.path("ca"), template, nil, nil); err != nil {
			return err
		}
	}
	for _, leaf := range c.Leaves {
		template := leaf.template()
		if old, _, err := loadPair(c.path(leaf.Name)); err == nil && current(old, template, authority) {
			continue
		}
		if _, _, err := issue(c.path(leaf.Name), template, authority, authorityKey); err != nil {
			return err
		}
	}
	for _, name := range c.KeyPairs {
		if err := keyPair(c.path(name)); err != nil {
			return err
		}
	}
	return nil
}

func (c pkiConfig) path(name string) string { return filepath.Join(c.Directory, name) }

func (l leafSpec) template() *x509.Certificate {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: l.CommonName, Organization: l.Organizations}, NotAfter: time.Now().Add(leafLife),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: l.DNSNames,
	}
	for _, text := range l.IPAddresses {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(text))
	}
	if l.Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if l.Client {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	return t
}

// current says whether a certificate still is what its template asks for.
func current(old, want, authority *x509.Certificate) bool {
	sameIPs := slices.EqualFunc(old.IPAddresses, want.IPAddresses, func(a, b net.IP) bool { return a.Equal(b) })
	return sameIPs && old.Subject.String() == want.Subject.String() && slices.Equal(old.DNSNames, want.DNSNames) &&
		slices.Equal(old.ExtKeyUsage, want.ExtKeyUsage) && time.Until(old.NotAfter) > renewBefore && old.CheckSignatureFrom(authority) == nil
}

// issue makes a key and a certificate; without an authority it signs itself. The certificate is written last: a pair
// cut short has no certificate and is made again.
func issue(path string, template, authority *x509.Certificate, authorityKey crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if authority == nil {
		authority, authorityKey = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-backdate)
	raw, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return nil, nil, err
	}
	if err := os.Remove(path + ".crt"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if err := writeKey(path+".key", key); err != nil {
		return nil, nil, err
	}
	if err := writePEM(path+".crt", "CERTIFICATE", raw); err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return certificate, key, err
}

func keyPair(path string) error {
	_, keyErr := os.Stat(path + ".key")
	_, pubErr := os.Stat(path + ".pub")
	if keyErr == nil && pubErr == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writeKey(path+".key", key); err != nil {
		return err
	}
	return writePEM(path+".pub", "PUBLIC KEY", public)
}

func loadPair(path string) (*x509.Certificate, crypto.Signer, error) {
	certificate, err := readPEM(path+".crt", "CERTIFICATE", x509.ParseCertificate)
	if err != nil {
		return nil, nil, err
	}
	key, err := readPEM(path+".key", "EC PRIVATE KEY", x509.ParseECPrivateKey)
	if err != nil {
		return nil, nil, err
	}
	if public, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("%s.crt and %s.key do not belong together: remove both and start again", path, path)
	}
	return certificate, key, nil
}

func readPEM[T any](path, kind string, parse func([]byte) (T, error)) (T, error) {
	var none T
	text, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return none, fmt.Errorf("%s is no %s: remove it and start again", path, kind)
	}
	return parse(block.Bytes)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", raw)
}

func writePEM(path, kind string, raw []byte) error {
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: raw}); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
