// Command profile writes the profile by which the compiler optimises the module: of builds by the same library, native, on
// trees that it reads from its input as JSON, an array of objects of path and content. Each has a folder "overlay".
package main

import (
	"encoding/json"
	"log"
	"os"
	"runtime/pprof"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const rounds = 30

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(target string) error {
	var trees []map[string]string
	if err := json.NewDecoder(os.Stdin).Decode(&trees); err != nil {
		return err
	}
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	for range rounds {
		for _, tree := range trees {
			if err := build(tree); err != nil {
				return err
			}
		}
	}
	return nil
}

func build(tree map[string]string) error {
	files := filesys.MakeFsInMemory()
	for path, content := range tree {
		if err := files.WriteFile("/"+path, []byte(content)); err != nil {
			return err
		}
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	resources, err := krusty.MakeKustomizer(options).Run(files, "/overlay")
	if err != nil {
		return err
	}
	_, err = resources.AsYaml()
	return err
}
