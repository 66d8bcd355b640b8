// Applies a file of objects with Flux' own apply engine, as its kustomize-controller does, and prints how long that
// took: a line {"seconds": 1.5}. Start, discovery and reading the file do not count.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "of the cluster")
	file := flag.String("objects", "", "JSON array of objects")
	concurrency := flag.Int("concurrency", 4, "as the controller's --concurrent-ssa")
	flag.Parse()
	if err := run(*kubeconfig, *file, *concurrency); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, file string, concurrency int) error {
	objects, err := readObjects(file)
	if err != nil {
		return err
	}
	manager, err := newManager(kubeconfig, concurrency, objects)
	if err != nil {
		return err
	}
	manager.SetOwnerLabels(objects, "bench", "default")

	started := time.Now()
	if _, err := manager.ApplyAllStaged(context.Background(), objects, ssa.DefaultApplyOptions()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": time.Since(started).Seconds()})
}

func newManager(kubeconfig string, concurrency int, objects []*unstructured.Unstructured) (*ssa.ResourceManager, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	// The controllers leave limits to the API server where that has priority and fairness.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	log.SetLogger(logr.Discard())
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		kind := object.GroupVersionKind()
		if _, err := mapper.RESTMapping(kind.GroupKind(), kind.Version); err != nil {
			return nil, err
		}
	}
	kube, err := client.New(config, client.Options{Mapper: mapper, HTTPClient: httpClient})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(kube, mapper, polling.Options{})
	manager := ssa.NewResourceManager(kube, poller, ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"})
	manager.SetConcurrency(concurrency)
	return manager, nil
}

func readObjects(file string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var contents []map[string]any
	if err := json.Unmarshal(data, &contents); err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, len(contents))
	for i, content := range contents {
		objects[i] = &unstructured.Unstructured{Object: content}
	}
	return objects, nil
}
