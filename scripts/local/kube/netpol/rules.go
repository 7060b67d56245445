// Package netpol enforces NetworkPolicies on a cluster of one node with iptables: what the bridge plugin lacks.
//
// The rules stand in the FORWARD chain of the mangle table, which every packet between pods, or between a pod and
// another region, passes before kube-proxy's own rules could accept it; addresses of services are those of their pods by
// then. Traffic between a pod and its own node passes no FORWARD chain and is allowed, as Kubernetes wants it.
package netpol

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// World is what the rules follow from.
type World struct {
	Policies   []*networking.NetworkPolicy
	Pods       []*v1.Pod
	Namespaces []*v1.Namespace
}

// Prefix is that of all chains made here; Root is the one that FORWARD jumps to.
const (
	Prefix = "IAM-NP-"
	Root   = Prefix + "ROOT"
)

// Chain is a chain with its rules, without the leading "-A NAME".
type Chain struct {
	Name  string
	Rules []string
}

// Chains gives the chains for the mangle table, Root last. In a pod's chain RETURN means allowed; its end drops.
func Chains(w World) ([]Chain, error) {
	slices.SortFunc(w.Pods, func(a, b *v1.Pod) int { return strings.Compare(key(a.ObjectMeta), key(b.ObjectMeta)) })
	slices.SortFunc(w.Policies, func(a, b *networking.NetworkPolicy) int {
		return strings.Compare(key(a.ObjectMeta), key(b.ObjectMeta))
	})
	root := Chain{Root, []string{"-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"}}
	var chains []Chain
	for _, pod := range w.Pods {
		if !addressed(pod) {
			continue
		}
		for _, direction := range []networking.PolicyType{networking.PolicyTypeEgress, networking.PolicyTypeIngress} {
			chain, isolated, err := podChain(w, pod, direction)
			if err != nil {
				return nil, err
			}
			if !isolated {
				continue
			}
			chains = append(chains, chain)
			own := "-d"
			if direction == networking.PolicyTypeEgress {
				own = "-s"
			}
			root.Rules = append(root.Rules, fmt.Sprintf("%s %s/32 -j %s", own, pod.Status.PodIP, chain.Name))
		}
	}
	return append(chains, root), nil
}

func key(m metav1.ObjectMeta) string { return m.Namespace + "/" + m.Name }

// addressed tells whether a pod has an address of its own that policies can speak of.
func addressed(pod *v1.Pod) bool {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	over := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	return err == nil && address.Is4() && !pod.Spec.HostNetwork && !over
}

// podChain gives the rules for one direction of a pod; isolated is false when no policy speaks of it.
func podChain(w World, pod *v1.Pod, direction networking.PolicyType) (chain Chain, isolated bool, err error) {
	name := fmt.Sprintf("%s%c-%x", Prefix, direction[0], sha256.Sum256([]byte(key(pod.ObjectMeta))))
	chain.Name = name[:28] // the kernel's limit
	other := "-s"
	if direction == networking.PolicyTypeEgress {
		other = "-d"
	}
	// A pod is never kept from itself, which it may reach through a service.
	allow := []string{fmt.Sprintf("%s %s/32", other, pod.Status.PodIP)}
	for _, policy := range w.Policies {
		if policy.Namespace != pod.Namespace || !slices.Contains(policy.Spec.PolicyTypes, direction) {
			continue
		}
		selected, err := matches(&policy.Spec.PodSelector, pod.Labels)
		if err != nil {
			return chain, false, fmt.Errorf("NetworkPolicy %s: %w", key(policy.ObjectMeta), err)
		}
		if !selected {
			continue
		}
		isolated = true
		lines, err := policyRules(w, policy, pod, direction, other)
		if err != nil {
			return chain, false, fmt.Errorf("NetworkPolicy %s: %w", key(policy.ObjectMeta), err)
		}
		allow = append(allow, lines...)
	}
	seen := map[string]bool{}
	for _, line := range allow {
		if !seen[line] {
			chain.Rules = append(chain.Rules, strings.TrimSpace(line+" -j RETURN"))
		}
		seen[line] = true
	}
	chain.Rules = append(chain.Rules, "-j DROP")
	return chain, isolated, nil
}

func policyRules(w World, policy *networking.NetworkPolicy, pod *v1.Pod, direction networking.PolicyType, other string) ([]string, error) {
	var lines []string
	add := func(peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) error {
		ends, err := resolve(w, policy.Namespace, peers)
		if err != nil {
			return err
		}
		for _, end := range ends {
			listener := pod // whose named ports are meant
			if direction == networking.PolicyTypeEgress {
				listener = end.pod
			}
			for _, port := range portMatches(ports, listener) {
				address := ""
				if end.prefix.IsValid() {
					address = fmt.Sprintf("%s %s ", other, end.prefix)
				}
				lines = append(lines, strings.TrimSpace(address+port))
			}
		}
		return nil
	}
	if direction == networking.PolicyTypeIngress {
		for _, rule := range policy.Spec.Ingress {
			if err := add(rule.From, rule.Ports); err != nil {
				return nil, err
			}
		}
		return lines, nil
	}
	for _, rule := range policy.Spec.Egress {
		if err := add(rule.To, rule.Ports); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// endpoint is another end that a rule allows: any (no prefix), a range, or a pod.
type endpoint struct {
	prefix netip.Prefix
	pod    *v1.Pod
}

func resolve(w World, namespace string, peers []networking.NetworkPolicyPeer) ([]endpoint, error) {
	if len(peers) == 0 {
		return []endpoint{{}}, nil
	}
	var ends []endpoint
	for _, peer := range peers {
		if peer.IPBlock != nil {
			prefixes, err := block(peer.IPBlock)
			if err != nil {
				return nil, err
			}
			for _, prefix := range prefixes {
				ends = append(ends, endpoint{prefix: prefix})
			}
			continue
		}
		namespaces, err := peerNamespaces(w, namespace, peer)
		if err != nil {
			return nil, err
		}
		for _, pod := range w.Pods {
			if !addressed(pod) || !namespaces[pod.Namespace] {
				continue
			}
			selected := true
			if peer.PodSelector != nil {
				if selected, err = matches(peer.PodSelector, pod.Labels); err != nil {
					return nil, err
				}
			}
			if selected {
				ends = append(ends, endpoint{netip.PrefixFrom(netip.MustParseAddr(pod.Status.PodIP), 32), pod})
			}
		}
	}
	return ends, nil
}

func peerNamespaces(w World, own string, peer networking.NetworkPolicyPeer) (map[string]bool, error) {
	if peer.NamespaceSelector == nil {
		return map[string]bool{own: true}, nil
	}
	names := map[string]bool{}
	for _, namespace := range w.Namespaces {
		selected, err := matches(peer.NamespaceSelector, namespace.Labels)
		if err != nil {
			return nil, err
		}
		names[namespace.Name] = selected
	}
	return names, nil
}

func matches(selector *metav1.LabelSelector, of map[string]string) (bool, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return parsed.Matches(labels.Set(of)), nil
}

// block gives the IPv4 ranges that make up a block without its exceptions.
func block(b *networking.IPBlock) ([]netip.Prefix, error) {
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return nil, err
	}
	var except []netip.Prefix
	for _, text := range b.Except {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		except = append(except, prefix.Masked())
	}
	if !whole.Addr().Is4() {
		return nil, nil // the pods' network has no IPv6
	}
	return subtract(whole.Masked(), except), nil
}

func subtract(whole netip.Prefix, except []netip.Prefix) []netip.Prefix {
	overlaps := false
	for _, e := range except {
		if !e.Overlaps(whole) {
			continue
		}
		if e.Bits() <= whole.Bits() {
			return nil
		}
		overlaps = true
	}
	if !overlaps {
		return []netip.Prefix{whole}
	}
	bits := whole.Bits() + 1
	low := netip.PrefixFrom(whole.Addr(), bits)
	bytes := whole.Addr().As4()
	bytes[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	high := netip.PrefixFrom(netip.AddrFrom4(bytes), bits)
	return append(subtract(low, except), subtract(high, except)...)
}

// portMatches gives iptables' matches for the ports; one empty match for no restriction. A named port that the listener
// does not have matches nothing.
func portMatches(ports []networking.NetworkPolicyPort, listener *v1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var found []string
	for _, port := range ports {
		protocol := v1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		match := "-p " + strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			found = append(found, match)
		case port.Port.Type == intstr.String:
			for _, number := range named(listener, port.Port.StrVal, protocol) {
				found = append(found, fmt.Sprintf("%s --dport %d", match, number))
			}
		case port.EndPort != nil:
			found = append(found, fmt.Sprintf("%s --dport %d:%d", match, port.Port.IntVal, *port.EndPort))
		default:
			found = append(found, fmt.Sprintf("%s --dport %d", match, port.Port.IntVal))
		}
	}
	return found
}

func named(pod *v1.Pod, name string, protocol v1.Protocol) []int32 {
	if pod == nil {
		return nil
	}
	var numbers []int32
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, port := range container.Ports {
			if port.Name == name && (port.Protocol == protocol || port.Protocol == "" && protocol == v1.ProtocolTCP) {
				numbers = append(numbers, port.ContainerPort)
			}
		}
	}
	return numbers
}
