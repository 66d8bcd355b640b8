// Applies a file of objects with Argo CD's own engine and prints how long that took: a line {"seconds": 1.5}. Start,
// filling the cluster cache and reading the file do not count.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/engine"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const trackingAnnotation = "bench.example.org/tracking-id"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "of the cluster")
	file := flag.String("objects", "", "JSON array of objects")
	serverSide := flag.Bool("server-side", false, "as the sync option ServerSideApply=true")
	validate := flag.Bool("validate", true, "as the sync option Validate")
	flag.Parse()
	if err := run(*kubeconfig, *file, *serverSide, *validate); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, file string, serverSide, validate bool) error {
	objects, err := readObjects(file)
	if err != nil {
		return err
	}
	// What earlier runs left in the cluster is none of this one's.
	trackingID := strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, object := range objects {
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[trackingAnnotation] = trackingID
		object.SetAnnotations(annotations)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	// ARGOCD_K8S_CLIENT_QPS and ARGOCD_K8S_CLIENT_BURST; no limit is the most that can be asked for.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	clusterCache := cache.NewClusterCache(config,
		cache.SetLogr(logr.Discard()),
		cache.SetPopulateResourceInfoHandler(func(object *unstructured.Unstructured, _ bool) (any, bool) {
			id := object.GetAnnotations()[trackingAnnotation]
			return id, id != ""
		}),
	)
	gitops := engine.NewEngine(config, clusterCache, engine.WithLogr(logr.Discard()))
	stop, err := gitops.Run()
	if err != nil {
		return err
	}
	defer stop()

	started := time.Now()
	isManaged := func(resource *cache.Resource) bool { return resource.Info == trackingID }
	results, err := gitops.Sync(context.Background(), objects, isManaged, "1", "default",
		sync.WithServerSideApply(serverSide), sync.WithServerSideApplyManager("argocd-controller"),
		sync.WithManifestValidation(validate), sync.WithLogr(logr.Discard()))
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Status != common.ResultCodeSynced {
			return fmt.Errorf("%s: %s %s", result.ResourceKey.String(), result.Status, result.Message)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": time.Since(started).Seconds()})
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
