package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

type buildRequest struct {
	// Folder of the kustomization, absolute in the host's tree.
	Path string `json:"path"`
	// JSON instead of YAML.
	Objects bool `json:"objects"`
}

type failure struct {
	Message string `json:"message"`
	// What the tree refused, if that is why: the first path of it.
	Refusal *refusal `json:"refusal,omitempty"`
}

// The tree of the build that runs.
var current *hostTree

// Whether a build may have left a parsed schema behind.
var used bool

func build(input []byte) ([]byte, int32) {
	var request buildRequest
	if err := json.Unmarshal(input, &request); err != nil {
		return failed(err, nil)
	}
	tree := &hostTree{}
	current = tree
	defer func() { current = nil }()
	result, err := customize(tree, request)
	// The schema is a global of upstream's, and a schema of a build's own is merged with what it finds. So a build
	// with its own schema must be the first one, and nothing of it may stay.
	if openapi.GetSchemaVersion() != defaultSchemaVersion {
		openapi.ResetOpenAPI()
		if used {
			used = false
			return nil, statusAgain
		}
	} else {
		used = true
	}
	if err != nil {
		return failed(err, tree.refusal)
	}
	return result, statusOK
}

var defaultSchemaVersion = openapi.GetSchemaVersion()

func customize(tree *hostTree, request buildRequest) ([]byte, error) {
	options := krusty.MakeDefaultOptions()
	// As kubectl without flags: the order that kustomizations ask for, or else the legacy one.
	options.Reorder = krusty.ReorderOptionUnspecified
	resources, err := krusty.MakeKustomizer(options).Run(tree, request.Path)
	if err != nil {
		return nil, err
	}
	if request.Objects {
		return asJSON(resources)
	}
	return resources.AsYaml()
}

// In the order of the YAML.
func asJSON(resources resmap.ResMap) ([]byte, error) {
	var list bytes.Buffer
	list.WriteByte('[')
	for i, resource := range resources.Resources() {
		object, err := resource.MarshalJSON()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			list.WriteByte(',')
		}
		list.Write(bytes.TrimSpace(object))
	}
	list.WriteByte(']')
	return list.Bytes(), nil
}

func failed(err error, refused *refusal) ([]byte, int32) {
	text, encodeErr := json.Marshal(failure{Message: err.Error(), Refusal: refused})
	if encodeErr != nil {
		panic(encodeErr)
	}
	return text, statusFailed
}

func describePanic(cause any) string {
	return fmt.Sprint(cause)
}
