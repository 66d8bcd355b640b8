package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"unsafe"

	"sigs.k8s.io/kustomize/api/builtins"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"
)

// Size in bytes of a chart's rendering, or one of the answers of hostLookup. The request is a chart as JSON.
//
//go:wasmimport kustomize chart
func hostChart(request string) int32

// Writes the rendering that was asked for last.
//
//go:wasmimport kustomize read_chart
func hostReadChart(target unsafe.Pointer)

// generatorFactories is upstream's table of built-in generators by their numbers. It is internal to upstream, which has
// no other way to put a generator in place of its own.
//
//go:linkname generatorFactories sigs.k8s.io/kustomize/api/internal/plugins/builtinhelpers.GeneratorFactories
var generatorFactories map[int]func() resmap.GeneratorPlugin

func init() {
	for number, create := range generatorFactories {
		if _, ok := create().(*builtins.HelmChartInflationGeneratorPlugin); ok {
			generatorFactories[number] = func() resmap.GeneratorPlugin { return &renderedChart{} }
			return
		}
	}
	panic("upstream has no generator for helm charts")
}

// renderedChart stands where upstream would run helm: it asks the host for what helm would print.
type renderedChart struct {
	helpers *resmap.PluginHelpers
	types.HelmGlobals
	types.HelmChart
}

// Config does what upstream does as long as it needs no chart, with the same errors.
func (chart *renderedChart) Config(helpers *resmap.PluginHelpers, config []byte) error {
	chart.helpers = helpers
	if err := yaml.Unmarshal(config, chart); err != nil {
		return err
	}
	if chart.Name == "" {
		return errors.New("chart name cannot be empty")
	}
	if chart.ChartHome == "" {
		chart.ChartHome = types.HelmDefaultHome
	}
	for _, file := range chart.AdditionalValuesFiles {
		if _, err := helpers.Loader().Load(file); err != nil {
			return fmt.Errorf("could not load additionalValuesFile: %w", err)
		}
	}
	if legal := []string{"merge", "override", "replace"}; chart.ValuesMerge != "" && !slices.Contains(legal, chart.ValuesMerge) {
		return fmt.Errorf("valuesMerge must be one of %v", legal)
	}
	return nil
}

func (chart *renderedChart) Generate() (resmap.ResMap, error) {
	if chart.ValuesFile != "" {
		if _, err := chart.helpers.Loader().Load(chart.ValuesFile); err != nil {
			return nil, err
		}
	}
	rendered, err := chart.ask()
	if err != nil {
		return nil, err
	}
	resources, err := chart.helpers.ResmapFactory().NewResMapFromBytes(rendered)
	if err != nil {
		return nil, fmt.Errorf("rendered chart %s: %w", chart.Name, err)
	}
	// Upstream leaves the namespace of these alone, and takes the mark away again.
	for _, resource := range resources.Resources() {
		if err := resource.PipeE(kyaml.SetAnnotation(konfig.HelmGeneratedAnnotation, "true")); err != nil {
			return nil, err
		}
	}
	return resources, nil
}

// chartRequest has paths from the root of the host's tree.
type chartRequest struct {
	ChartHome string `json:"chartHome"`
	types.HelmChart
}

func (chart *renderedChart) ask() ([]byte, error) {
	request := chartRequest{ChartHome: chart.inTree(chart.ChartHome), HelmChart: chart.HelmChart}
	if chart.ValuesFile != "" {
		request.ValuesFile = chart.inTree(chart.ValuesFile)
	}
	request.AdditionalValuesFiles = nil
	for _, file := range chart.AdditionalValuesFiles {
		request.AdditionalValuesFiles = append(request.AdditionalValuesFiles, chart.inTree(file))
	}
	asked, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	size := hostChart(string(asked))
	switch size {
	case hostMissing:
		return nil, current.refuse("chart", string(asked), "builtin HelmChartInflationGenerator: chart "+chart.Name+" is not rendered")
	case hostTooLarge:
		return nil, current.refuse("too large", "The rendered chart "+chart.Name, "rendered chart "+chart.Name+" is too large")
	}
	rendered := make([]byte, size, size+1)
	hostReadChart(unsafe.Pointer(unsafe.SliceData(rendered)))
	return rendered, nil
}

// inTree leaves paths as they are that lead out of the tree.
func (chart *renderedChart) inTree(file string) string {
	absolute := file
	if !filepath.IsAbs(file) {
		absolute = filepath.Join(chart.helpers.Loader().Root(), file)
	}
	if relative, ok := relativeToMount(absolute); ok {
		return relative
	}
	return file
}
