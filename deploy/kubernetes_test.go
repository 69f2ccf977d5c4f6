package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The manifests are decoded strictly: a key that these types do not have is an
// error. So a key is right or known here, and one that takes hardening back, such
// as hostNetwork or a user of the container, cannot come in unseen.
type (
	kubeMeta struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	kubeHead struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   kubeMeta `yaml:"metadata"`
	}
	kubeSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	kubeAccount struct {
		kubeHead  `yaml:",inline"`
		Automount *bool `yaml:"automountServiceAccountToken"`
	}
	kubeService struct {
		kubeHead `yaml:",inline"`
		Spec     struct {
			ClusterIP       string            `yaml:"clusterIP"`
			PublishNotReady bool              `yaml:"publishNotReadyAddresses"`
			Selector        map[string]string `yaml:"selector"`
			Ports           []struct {
				Name       string `yaml:"name"`
				Port       int    `yaml:"port"`
				TargetPort string `yaml:"targetPort"`
			} `yaml:"ports"`
		} `yaml:"spec"`
	}
	kubeBudget struct {
		kubeHead `yaml:",inline"`
		Spec     struct {
			MaxUnavailable int          `yaml:"maxUnavailable"`
			Selector       kubeSelector `yaml:"selector"`
		} `yaml:"spec"`
	}
	kubePeer struct {
		Namespaces *kubeSelector `yaml:"namespaceSelector"`
		Pods       *kubeSelector `yaml:"podSelector"`
	}
	kubeTraffic struct {
		From  []kubePeer `yaml:"from"`
		To    []kubePeer `yaml:"to"`
		Ports []struct {
			Protocol string `yaml:"protocol"`
			Port     string `yaml:"port"`
		} `yaml:"ports"`
	}
	kubeNetwork struct {
		kubeHead `yaml:",inline"`
		Spec     struct {
			Pods    kubeSelector  `yaml:"podSelector"`
			Types   []string      `yaml:"policyTypes"`
			Ingress []kubeTraffic `yaml:"ingress"`
			Egress  []kubeTraffic `yaml:"egress"`
		} `yaml:"spec"`
	}
	kubeSet struct {
		kubeHead `yaml:",inline"`
		Spec     struct {
			ServiceName string `yaml:"serviceName"`
			Replicas    int    `yaml:"replicas"`
			Management  string `yaml:"podManagementPolicy"`
			MinReady    int    `yaml:"minReadySeconds"`
			Update      struct {
				Type string `yaml:"type"`
			} `yaml:"updateStrategy"`
			Selector kubeSelector `yaml:"selector"`
			Template struct {
				Metadata kubeMeta `yaml:"metadata"`
				Spec     kubePod  `yaml:"spec"`
			} `yaml:"template"`
			Claims []struct {
				Metadata kubeMeta `yaml:"metadata"`
				Spec     struct {
					Modes     []string `yaml:"accessModes"`
					Resources struct {
						Requests struct {
							Storage string `yaml:"storage"`
						} `yaml:"requests"`
					} `yaml:"resources"`
				} `yaml:"spec"`
			} `yaml:"volumeClaimTemplates"`
		} `yaml:"spec"`
	}
	kubePod struct {
		Account      string `yaml:"serviceAccountName"`
		Automount    *bool  `yaml:"automountServiceAccountToken"`
		ServiceLinks *bool  `yaml:"enableServiceLinks"`
		Grace        int    `yaml:"terminationGracePeriodSeconds"`
		Security     struct {
			NonRoot       bool   `yaml:"runAsNonRoot"`
			User          int    `yaml:"runAsUser"`
			Group         int    `yaml:"runAsGroup"`
			FSGroup       int    `yaml:"fsGroup"`
			FSGroupChange string `yaml:"fsGroupChangePolicy"`
			Seccomp       struct {
				Type string `yaml:"type"`
			} `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		Spread []struct {
			Key        string       `yaml:"topologyKey"`
			MaxSkew    int          `yaml:"maxSkew"`
			When       string       `yaml:"whenUnsatisfiable"`
			NodeTaints string       `yaml:"nodeTaintsPolicy"`
			Selector   kubeSelector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		Containers []kubeContainer `yaml:"containers"`
		Volumes    []struct {
			Name      string `yaml:"name"`
			ConfigMap struct {
				Name string `yaml:"name"`
			} `yaml:"configMap"`
		} `yaml:"volumes"`
	}
	kubeProbe struct {
		HTTP struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
		Period   int `yaml:"periodSeconds"`
		Timeout  int `yaml:"timeoutSeconds"`
		Failures int `yaml:"failureThreshold"`
	}
	kubeContainer struct {
		Name  string    `yaml:"name"`
		Image string    `yaml:"image"`
		Args  []string  `yaml:"args"`
		Env   []kubeEnv `yaml:"env"`
		Ports []struct {
			Name string `yaml:"name"`
			Port int    `yaml:"containerPort"`
		} `yaml:"ports"`
		Startup   kubeProbe `yaml:"startupProbe"`
		Liveness  kubeProbe `yaml:"livenessProbe"`
		Readiness kubeProbe `yaml:"readinessProbe"`
		Resources struct {
			Requests map[string]string `yaml:"requests"`
			Limits   map[string]string `yaml:"limits"`
		} `yaml:"resources"`
		Security struct {
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities struct {
				Drop []string `yaml:"drop"`
			} `yaml:"capabilities"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name     string `yaml:"name"`
			Path     string `yaml:"mountPath"`
			ReadOnly bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	kubeEnv struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
		From  struct {
			Secret struct {
				Name string `yaml:"name"`
				Key  string `yaml:"key"`
			} `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	kubeKustomization struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Resources  []string `yaml:"resources"`
		Images     []struct {
			Name    string `yaml:"name"`
			NewName string `yaml:"newName"`
			NewTag  string `yaml:"newTag"`
		} `yaml:"images"`
		Maps []struct {
			Name  string   `yaml:"name"`
			Files []string `yaml:"files"`
		} `yaml:"configMapGenerator"`
	}
)

// bundle is what `kubectl apply -k` would apply.
type bundle struct {
	kustomization kubeKustomization
	account       kubeAccount
	service       kubeService
	budget        kubeBudget
	network       kubeNetwork
	set           kubeSet
	maps          map[string]map[string][]byte // content of files by ConfigMap and file name
}

// loadBundle decodes the manifests. Each kind is there once, each manifest is named
// in the kustomization, and each key is known.
func loadBundle(files fs.FS) (*bundle, error) {
	b := &bundle{maps: map[string]map[string][]byte{}}
	text, err := fs.ReadFile(files, "kustomization.yaml")
	if err != nil {
		return nil, err
	}
	if err := strict(text, &b.kustomization); err != nil {
		return nil, fmt.Errorf("kustomization.yaml: %w", err)
	}
	there, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	there = slices.DeleteFunc(there, func(s string) bool { return s == "kustomization.yaml" })
	if named := slices.Sorted(slices.Values(b.kustomization.Resources)); !slices.Equal(named, there) {
		return nil, fmt.Errorf("the kustomization names %v, there are %v", named, there)
	}
	kinds := map[string]any{
		"v1 ServiceAccount": &b.account, "v1 Service": &b.service, "policy/v1 PodDisruptionBudget": &b.budget,
		"networking.k8s.io/v1 NetworkPolicy": &b.network, "apps/v1 StatefulSet": &b.set,
	}
	for _, name := range there {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var head kubeHead
		if err := yaml.Unmarshal(text, &head); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		kind := head.APIVersion + " " + head.Kind
		to, ok := kinds[kind]
		if !ok {
			return nil, fmt.Errorf("%s: kind %s is unknown or there twice", name, kind)
		}
		delete(kinds, kind)
		if err := strict(text, to); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(kinds) > 0 {
		return nil, fmt.Errorf("there is no %v", slices.Sorted(maps.Keys(kinds)))
	}
	for _, m := range b.kustomization.Maps {
		b.maps[m.Name] = map[string][]byte{}
		for _, f := range m.Files {
			if b.maps[m.Name][path.Base(f)], err = fs.ReadFile(files, f); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// strict decodes the one document of a file.
func strict(text []byte, to any) error {
	l, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithKnownFields(), yaml.WithUniqueKeys())
	if err != nil {
		return err
	}
	if err := l.Load(to); err != nil {
		return err
	}
	if err := l.Load(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("more than one document (%w)", err)
	}
	return nil
}

// TestKubernetes: the manifests fit together, fit the program, and ask for no more
// than the restricted Pod Security Standard allows.
func TestKubernetes(t *testing.T) {
	for _, problem := range checkKubernetes(os.DirFS("kubernetes")) {
		t.Error(problem)
	}
}

// problems collects what is wrong.
type problems []string

func (p *problems) unless(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Sprintf(format, args...))
	}
}

func checkKubernetes(files fs.FS) problems {
	b, err := loadBundle(files)
	if err != nil {
		return problems{err.Error()}
	}
	if len(b.set.Spec.Template.Spec.Containers) != 1 {
		return problems{"there is not one container"}
	}
	var p problems
	p.pod(b)
	p.container(b)
	p.labels(b)
	p.volumes(b)
	p.traffic(b)
	p.config(b)
	return p
}

func isFalse(b *bool) bool { return b != nil && !*b }

func ownLabels(labels map[string]string) bool {
	return maps.Equal(labels, map[string]string{"app.kubernetes.io/name": "segmill"})
}

func dockerfileHas(line string) bool {
	b, err := os.ReadFile("Dockerfile")
	return err == nil && strings.Contains("\n"+string(b), "\n"+line+"\n")
}
