package netpol

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os/exec"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	settle  = 50 * time.Millisecond // changes come in bursts: one set of rules for each burst
	repair  = time.Minute           // the rules are written again, whoever may have changed them
	retry   = 2 * time.Second
	command = 20 * time.Second // for one call of iptables
)

// Run keeps the rules as the policies want them until the context ends. The rules stay then: an enforcer that is
// restarted must not open a door meanwhile.
func Run(ctx context.Context, client kubernetes.Interface) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	policies := factory.Networking().V1().NetworkPolicies()
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	for _, informer := range []cache.SharedIndexInformer{policies.Informer(), pods.Informer(), namespaces.Informer()} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
		}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	var last string
	var written time.Time
	for ctx.Err() == nil {
		wait := repair
		if err := func() error {
			var w World
			var err error
			if w.Policies, err = policies.Lister().List(labels.Everything()); err != nil {
				return err
			}
			if w.Pods, err = pods.Lister().List(labels.Everything()); err != nil {
				return err
			}
			if w.Namespaces, err = namespaces.Lister().List(labels.Everything()); err != nil {
				return err
			}
			chains, err := Chains(w)
			if err != nil {
				return err
			}
			if text := fmt.Sprint(chains); text != last || time.Since(written) >= repair {
				if err := write(ctx, chains); err != nil {
					return err
				}
				last, written = text, time.Now()
			}
			return nil
		}(); err != nil {
			log.Printf("the rules stay as they are: %v", err)
			last, wait = "", retry
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-changed:
			time.Sleep(settle)
		}
	}
	return nil
}

// write replaces all chains in one transaction and removes those that are no longer wanted.
func write(ctx context.Context, chains []Chain) error {
	saved, err := iptables(ctx, "", "iptables-save", "-t", "mangle")
	if err != nil {
		return err
	}
	text := restoreText(chains, saved)
	if _, err := iptables(ctx, text, "iptables-restore", "--wait", "10", "--noflush"); err != nil {
		return err
	}
	return nil
}

func restoreText(chains []Chain, saved string) string {
	var text strings.Builder
	text.WriteString("*mangle\n")
	for _, chain := range chains {
		fmt.Fprintf(&text, ":%s - [0:0]\n", chain.Name)
	}
	var old []string
	for line := range strings.Lines(saved) {
		name, isChain := strings.CutPrefix(strings.Fields(line + " -")[0], ":"+Prefix)
		wanted := slices.ContainsFunc(chains, func(c Chain) bool { return c.Name == Prefix+name })
		if isChain && !wanted {
			old = append(old, Prefix+name)
			fmt.Fprintf(&text, ":%s - [0:0]\n", Prefix+name)
		}
	}
	for _, chain := range chains {
		for _, rule := range chain.Rules {
			fmt.Fprintf(&text, "-A %s %s\n", chain.Name, rule)
		}
	}
	hook := "-A FORWARD -j " + Root + "\n"
	if !strings.Contains(saved, hook) {
		text.WriteString(hook)
	}
	for _, name := range old {
		fmt.Fprintf(&text, "-X %s\n", name)
	}
	text.WriteString("COMMIT\n")
	return text.String()
}

func iptables(ctx context.Context, input string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, command)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return string(output), nil
}
