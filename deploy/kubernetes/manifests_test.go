// Package kubernetes_test holds the manifests to the types of Kubernetes, to each
// other, and to what the server is.
package kubernetes_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// manifests are the objects of tandem.yaml, by kind and name.
type manifests map[string]runtime.Object

// load decodes every document strictly: a field that the type of its kind does
// not have, or that is there twice, is an error.
func load(t *testing.T) manifests {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile("tandem.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := make(manifests)
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var head metav1.PartialObjectMetadata
		if err := strict.Unmarshal(document, &head); err != nil {
			t.Fatal(err)
		}
		object, err := scheme.New(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
		if err != nil {
			t.Fatalf("%s %s: %v", head.Kind, head.Name, err)
		}
		if err := strict.UnmarshalStrict(document, object); err != nil {
			t.Fatalf("%s %s: %v", head.Kind, head.Name, err)
		}
		all[head.Kind+" "+head.Name] = object
	}
}

func find[T runtime.Object](t *testing.T, all manifests, name string) T {
	t.Helper()
	object, ok := all[name].(T)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return object
}

// TestStrict shows that the check would find a slip.
func TestStrict(t *testing.T) {
	var service corev1.Service
	if strict.UnmarshalStrict([]byte("kind: Service\nspec: {port: []}"), &service) == nil {
		t.Error("an unknown field is let through")
	}
}

func TestManifestsBelongTogether(t *testing.T) {
	all := load(t)
	deployment := find[*appsv1.Deployment](t, all, "Deployment tandem")
	pod := deployment.Spec.Template
	for what, selector := range map[string]labels.Selector{
		"deployment":       selectorOf(t, deployment.Spec.Selector),
		"service":          labels.SelectorFromSet(find[*corev1.Service](t, all, "Service tandem").Spec.Selector),
		"internal service": labels.SelectorFromSet(find[*corev1.Service](t, all, "Service tandem-internal").Spec.Selector),
		"budget":           selectorOf(t, find[*policyv1.PodDisruptionBudget](t, all, "PodDisruptionBudget tandem").Spec.Selector),
		"spread":           selectorOf(t, pod.Spec.TopologySpreadConstraints[0].LabelSelector),
	} {
		if selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
			t.Errorf("the %s does not select the pods", what)
		}
	}
	container := pod.Spec.Containers[0]
	ports := make(map[string]int32)
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	for name, target := range map[string]string{
		"clients":  find[*corev1.Service](t, all, "Service tandem").Spec.Ports[0].TargetPort.StrVal,
		"internal": find[*corev1.Service](t, all, "Service tandem-internal").Spec.Ports[0].TargetPort.StrVal,
	} {
		if target != name || ports[name] == 0 {
			t.Errorf("port %s: the service sends to %q, the pod has %v", name, target, ports)
		}
	}
	for path, probe := range map[string]*corev1.Probe{"/readyz": container.ReadinessProbe, "/healthz": container.LivenessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "internal" {
			t.Errorf("the probe for %s asks for %s on %v", path, probe.HTTPGet.Path, probe.HTTPGet.Port)
		}
	}
	// All of both: a variable that is set there cannot be left out here.
	if len(container.EnvFrom) != 2 || len(container.Env) != 0 {
		t.Errorf("the variables are not those of the ConfigMap and of the Secret: %v, %v", container.EnvFrom, container.Env)
	}
	for _, from := range container.EnvFrom {
		if from.Prefix != "" {
			t.Errorf("variables have the prefix %s, which the server does not know", from.Prefix)
		}
		switch {
		case from.ConfigMapRef != nil:
			find[*corev1.ConfigMap](t, all, "ConfigMap "+from.ConfigMapRef.Name)
		case from.SecretRef != nil:
			find[*corev1.Secret](t, all, "Secret "+from.SecretRef.Name)
		}
	}
}

func selectorOf(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector
}

// TestGrace: Kubernetes kills no pod before it has drained.
func TestGrace(t *testing.T) {
	all := load(t)
	pod := find[*appsv1.Deployment](t, all, "Deployment tandem").Spec.Template.Spec
	drain, err := time.ParseDuration(find[*corev1.ConfigMap](t, all, "ConfigMap tandem").Data["DRAIN_TIME"])
	if err != nil {
		t.Fatal(err)
	}
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	wait := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	// docs/operating.md: DRAIN_TIME and ten seconds.
	if grace < wait+drain+10*time.Second {
		t.Errorf("killed after %v, with %v of preStop and %v of DRAIN_TIME", grace, wait, drain)
	}
}

// TestKnownToTheServer: variables, image and ports are those of the server.
func TestKnownToTheServer(t *testing.T) {
	all := load(t)
	variables, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	configMap := find[*corev1.ConfigMap](t, all, "ConfigMap tandem").Data
	for _, set := range []map[string]string{configMap, find[*corev1.Secret](t, all, "Secret tandem").StringData} {
		for name := range set {
			if !bytes.Contains(variables, []byte("| `"+name+"` |")) {
				t.Errorf("%s is set, which the server does not know", name)
			}
		}
	}
	pod := find[*appsv1.Deployment](t, all, "Deployment tandem").Spec.Template.Spec
	if user := *pod.SecurityContext.RunAsUser; !bytes.Contains(dockerfile, []byte("USER 65532:65532")) || user != 65532 {
		t.Errorf("it runs as %d, the image has another user", user)
	}
	if !bytes.Contains(dockerfile, []byte("EXPOSE 8080 9000")) || configMap["INTERNAL_ADDR"] != ":9000" {
		t.Error("the ports are not those of the image")
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(pod.Containers[0].Image, ":")
	if !bytes.Contains(makefile, []byte("VERSION ?= "+version+"\n")) {
		t.Errorf("the image is of version %s, the Makefile's is another", version)
	}
}
