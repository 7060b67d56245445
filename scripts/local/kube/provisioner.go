package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisioner makes one directory per claim on this node. The volume is of type "local" rather than "hostPath", because
// the kubelet applies a pod's fsGroup to the former only, and pods that are not root could not write otherwise.
type provisioner struct {
	name string // as named by the StorageClass; also marks the volumes that are ours to delete
	node string // the only node of the cluster
	root string // directory that holds the volumes
}

// directory is where a volume's data lives. The volume's name comes from the claim's uid ("pvc-<uid>"), so two claims
// never share one and a claim made again under an old name starts empty.
func (p *provisioner) directory(volume string) (string, error) {
	if volume == "" || volume != filepath.Base(volume) || strings.HasPrefix(volume, ".") {
		return "", fmt.Errorf("%q is no name for a volume's directory", volume)
	}
	return filepath.Join(p.root, volume), nil
}

// Provision makes the directory and describes it. It may be called again for the same claim after a crash: an existing
// directory is kept as it is.
func (p *provisioner) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s has a selector, and this class makes volumes on demand: leave the selector out", o.PVC.Namespace, o.PVC.Name)
	}
	for _, mode := range o.PVC.Spec.AccessModes {
		if mode == v1.ReadOnlyMany || mode == v1.ReadWriteMany {
			return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s asks for %s, and volumes of this class belong to one node: use ReadWriteOnce", o.PVC.Namespace, o.PVC.Name, mode)
		}
	}
	if mode := o.PVC.Spec.VolumeMode; mode != nil && *mode == v1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, fmt.Errorf("claim %s/%s asks for a block device, and this class has file systems only", o.PVC.Namespace, o.PVC.Name)
	}
	if o.SelectedNodeName != "" && o.SelectedNodeName != p.node {
		return nil, controller.ProvisioningReschedule, fmt.Errorf("node %s is not %s", o.SelectedNodeName, p.node)
	}
	dir, err := p.directory(o.PVName)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// The kubelet sets group and mode for the pod's fsGroup; until then nobody but root looks inside.
	if err := os.MkdirAll(dir, 0o770); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	fileSystem := v1.PersistentVolumeFilesystem
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    &fileSystem,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: dir}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{p.node}}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the data. Only a directory directly below our root is ever removed, whatever the volume object says.
func (p *provisioner) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	dir, err := p.directory(volume.Name)
	if err != nil {
		return err
	}
	if volume.Spec.Local == nil || filepath.Clean(volume.Spec.Local.Path) != dir {
		return &controller.IgnoredError{Reason: "the volume does not lie in " + p.root}
	}
	// Renamed first: a removal cut short must not leave a half-empty directory under the volume's own name.
	doomed := filepath.Join(p.root, ".deleted-"+volume.Name)
	if err := os.Rename(dir, doomed); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(doomed)
}

func (p *provisioner) run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.Timeout = 0 // watches last; every request has the controller's own deadlines
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	leftovers, _ := filepath.Glob(filepath.Join(p.root, ".deleted-*"))
	for _, dir := range leftovers {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	controller.NewProvisionController(ctx, client, p.name, p,
		controller.LeaderElection(false), // one process per cluster, kept so by whoever starts it
		controller.ResyncPeriod(10*time.Minute),
		controller.RetryIntervalMax(30*time.Second), // the default of 1000 s outlasts anybody's patience on one machine
		controller.FailedProvisionThreshold(0),      // retry for ever: a full disk may be freed
		controller.FailedDeleteThreshold(0),
	).Run(ctx)
	return nil
}

func newVolumeProvisionerCommand() *cobra.Command {
	p := &provisioner{}
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "volume-provisioner",
		Short: "Makes local volumes for the claims of one single-node cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !filepath.IsAbs(p.root) {
				return fmt.Errorf("--root is %q: it has to be an absolute path", p.root)
			}
			if err := os.MkdirAll(p.root, 0o711); err != nil {
				return err
			}
			return p.run(cmd.Context(), kubeconfig)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	cmd.Flags().StringVar(&p.name, "provisioner", "iam-ha.local/directory", "provisioner's name in the StorageClass")
	cmd.Flags().StringVar(&p.node, "node", "", "name of the cluster's node")
	cmd.Flags().StringVar(&p.root, "root", "", "directory that holds the volumes")
	for _, required := range []string{"kubeconfig", "node", "root"} {
		if err := cmd.MarkFlagRequired(required); err != nil {
			panic(err) // a flag that is not there: a mistake in the lines above
		}
	}
	return cmd
}
