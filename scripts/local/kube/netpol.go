package main

import (
	"github.com/spf13/cobra"
	"iam-ha.local/kube/netpol"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func newNetworkPolicyCommand() *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "network-policy",
		Short: "Enforces the NetworkPolicies of one single-node cluster with iptables",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			return netpol.Run(cmd.Context(), client)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	if err := cmd.MarkFlagRequired("kubeconfig"); err != nil {
		panic(err) // a flag that is not there: a mistake in the lines above
	}
	return cmd
}
