package netpol

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, name, ip string, ports ...v1.ContainerPort) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Ports: ports}}},
		Status:     v1.PodStatus{PodIP: ip, Phase: v1.PodRunning},
	}
}

func namespace(name string) *v1.Namespace {
	return &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}}}
}

func selects(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func world(spec ...networking.NetworkPolicySpec) World {
	w := World{
		Pods: []*v1.Pod{
			pod("iam", "db", "10.11.0.2", v1.ContainerPort{Name: "sql", ContainerPort: 5432}),
			pod("iam", "api", "10.11.0.3"),
			pod("ops", "api", "10.11.0.4"),
		},
		Namespaces: []*v1.Namespace{namespace("iam"), namespace("ops")},
	}
	for i, s := range spec {
		w.Policies = append(w.Policies, &networking.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "iam", Name: fmt.Sprint("p", i)}, Spec: s})
	}
	return w
}

// text gives the chains as lines "chain: rule", pods' chains named by direction.
func text(t *testing.T, w World) string {
	t.Helper()
	chains, err := Chains(w)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, chain := range chains {
		if len(chain.Name) > 28 {
			t.Errorf("%s is longer than iptables allows", chain.Name)
		}
		for _, rule := range chain.Rules {
			lines = append(lines, chain.Name[len(Prefix):len(Prefix)+1]+": "+rule)
		}
	}
	return strings.Join(lines, "\n")
}

func expect(t *testing.T, w World, want ...string) {
	t.Helper()
	var got []string
	for _, line := range strings.Split(text(t, w), "\n") {
		if !strings.HasPrefix(line, "R: ") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var ingress = []networking.PolicyType{networking.PolicyTypeIngress}
var egress = []networking.PolicyType{networking.PolicyTypeEgress}

func TestWithoutPolicyNothingIsIsolated(t *testing.T) {
	if got := text(t, world()); got != "R: -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN" {
		t.Error(got)
	}
}

func TestDenyAll(t *testing.T) {
	w := world(networking.NetworkPolicySpec{PolicyTypes: ingress})
	expect(t, w, "I: -s 10.11.0.3/32 -j RETURN", "I: -j DROP", "I: -s 10.11.0.2/32 -j RETURN", "I: -j DROP")
	if got := text(t, w); !strings.Contains(got, "R: -d 10.11.0.2/32 -j IAM-NP-I-") || strings.Contains(got, "10.11.0.4") {
		t.Error(got)
	}
}

func TestPodSelectorMeansTheOwnNamespace(t *testing.T) {
	sql := intstr.FromString("sql")
	w := world(networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress, Ingress: []networking.NetworkPolicyIngressRule{{
		From: []networking.NetworkPolicyPeer{{PodSelector: selects("api")}}, Ports: []networking.NetworkPolicyPort{{Port: &sql}},
	}}})
	expect(t, w, "I: -s 10.11.0.2/32 -j RETURN", "I: -s 10.11.0.3/32 -p tcp --dport 5432 -j RETURN", "I: -j DROP")
}

func TestNamespaceAndPodSelectorTogether(t *testing.T) {
	w := world(networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress, Ingress: []networking.NetworkPolicyIngressRule{{
		From: []networking.NetworkPolicyPeer{{PodSelector: selects("api"), NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"name": "ops"}}}},
	}}})
	expect(t, w, "I: -s 10.11.0.2/32 -j RETURN", "I: -s 10.11.0.4/32 -j RETURN", "I: -j DROP")
}

func TestEgressByNameOfTheOtherEndsPort(t *testing.T) {
	sql, udp, dns := intstr.FromString("sql"), v1.ProtocolUDP, intstr.FromInt32(53)
	w := world(networking.NetworkPolicySpec{PodSelector: *selects("api"), PolicyTypes: egress, Egress: []networking.NetworkPolicyEgressRule{
		{To: []networking.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}, Ports: []networking.NetworkPolicyPort{{Port: &sql}}},
		{Ports: []networking.NetworkPolicyPort{{Port: &dns, Protocol: &udp}}},
	}})
	expect(t, w, "E: -d 10.11.0.3/32 -j RETURN", "E: -d 10.11.0.2/32 -p tcp --dport 5432 -j RETURN", "E: -p udp --dport 53 -j RETURN", "E: -j DROP")
}

func TestPoliciesAddUp(t *testing.T) {
	first, last := intstr.FromInt32(1000), int32(2000)
	w := world(
		networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress},
		networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress, Ingress: []networking.NetworkPolicyIngressRule{
			{Ports: []networking.NetworkPolicyPort{{Port: &first, EndPort: &last}}}, {Ports: []networking.NetworkPolicyPort{{Port: &first, EndPort: &last}}},
		}},
	)
	expect(t, w, "I: -s 10.11.0.2/32 -j RETURN", "I: -p tcp --dport 1000:2000 -j RETURN", "I: -j DROP")
}

func TestPodsWithoutAnAddressOfTheirOwn(t *testing.T) {
	w := world(networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress})
	w.Pods[0].Spec.HostNetwork = true
	expect(t, w)
	w = world(networking.NetworkPolicySpec{PodSelector: *selects("db"), PolicyTypes: ingress})
	w.Pods[0].Status.Phase = v1.PodSucceeded
	expect(t, w)
}

func TestBlockWithoutItsExceptions(t *testing.T) {
	got, err := block(&networking.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.0.0.0/9", "10.192.0.0/10"}})
	if err != nil || len(got) != 1 || got[0].String() != "10.128.0.0/10" {
		t.Error(got, err)
	}
	random := rand.New(rand.NewSource(1))
	for range 200 {
		whole := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.Intn(256))}), 8+random.Intn(9)).Masked()
		var except []netip.Prefix
		for range random.Intn(4) {
			except = append(except, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.Intn(256)), byte(random.Intn(256))}), 8+random.Intn(17)).Masked())
		}
		left := subtract(whole, except)
		for range 50 {
			address := netip.AddrFrom4([4]byte{10, byte(random.Intn(256)), byte(random.Intn(256)), byte(random.Intn(256))})
			in := func(p netip.Prefix) bool { return p.Contains(address) }
			if want := whole.Contains(address) && !slices.ContainsFunc(except, in); want != slices.ContainsFunc(left, in) {
				t.Fatalf("%v without %v: %v is wrong in %v", whole, except, address, left)
			}
		}
	}
}
