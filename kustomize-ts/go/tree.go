package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"unsafe"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// mount is where the host's tree begins. Whatever a path climbs to above it is outside.
const mount = "/tree"

// Answers of the host instead of a size.
const (
	hostMissing     = -1
	hostDirectory   = -2
	hostLink        = -3
	hostTooLarge    = -4
	hostUnavailable = -5
)

// Size of a file in bytes, or one of the answers above. The path is relative to the mount, "." for itself.
//
//go:wasmimport kustomize lookup
func hostLookup(path string) int32

// Writes the content of a file that was looked up: as many bytes as that said.
//
//go:wasmimport kustomize read
func hostRead(path string, target unsafe.Pointer)

type refusal struct {
	// "outside", "link", "too large", "name", "unavailable" or "remote".
	Reason string `json:"reason"`
	// Relative to the mount where it is inside, as written otherwise.
	Path string `json:"path"`
}

// hostTree is the file system of a build. Errors have the words of the one on disk, so that messages are the same.
type hostTree struct {
	refusal *refusal
}

var errReadOnly = errors.New("the tree is read-only")

func (tree *hostTree) refuse(reason, path, message string) error {
	if tree.refusal == nil {
		tree.refusal = &refusal{Reason: reason, Path: path}
	}
	return errors.New(message)
}

// CleanedAbs says where a path leads: to a folder, or to a file in one.
func (tree *hostTree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	absolute := name
	if !path.IsAbs(absolute) {
		absolute = path.Join(mount, absolute)
	}
	absolute = path.Clean(absolute)
	size, err := tree.resolve(absolute)
	if err != nil {
		return "", "", fmt.Errorf("evalsymlink failure on '%s' : %w", name, err)
	}
	if size == hostDirectory {
		return filesys.ConfirmedDir(absolute), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(absolute)), path.Base(absolute), nil
}

// resolve answers hostDirectory or a size; an error for all else.
func (tree *hostTree) resolve(absolute string) (int32, error) {
	if strings.ContainsRune(absolute, 0) {
		return 0, tree.refuse("name", absolute, "lstat "+absolute+": invalid argument")
	}
	relative, ok := relativeToMount(absolute)
	if !ok {
		return 0, tree.refuse("outside", absolute, absolute+" is outside of the given files")
	}
	switch size := hostLookup(relative); size {
	case hostMissing:
		return 0, firstMissing(absolute)
	case hostLink:
		return 0, tree.refuse("link", relative, absolute+" is a symbolic link, or in a folder that is one")
	case hostTooLarge:
		return 0, tree.refuse("too large", relative, absolute+" is too large")
	case hostUnavailable:
		return 0, tree.refuse("unavailable", relative, absolute+" cannot be read")
	default:
		return size, nil
	}
}

func relativeToMount(absolute string) (string, bool) {
	if absolute == mount {
		return ".", true
	}
	return strings.CutPrefix(absolute, mount+"/")
}

// firstMissing names the part of the path that is not there, as the system does.
func firstMissing(absolute string) error {
	for end := len(mount) + 1; end < len(absolute); end++ {
		if absolute[end] != '/' {
			continue
		}
		part := absolute[:end]
		switch hostLookup(part[len(mount)+1:]) {
		case hostDirectory:
		case hostMissing:
			return missing(part)
		default:
			return errors.New("not a directory")
		}
	}
	return missing(absolute)
}

func missing(absolute string) error {
	return fmt.Errorf("lstat %s: no such file or directory%w", absolute, silent{fs.ErrNotExist})
}

// silent lets errors.Is find a cause that the message does not show.
type silent struct{ cause error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.cause }

func (tree *hostTree) ReadFile(name string) ([]byte, error) {
	size, err := tree.resolve(path.Clean(name))
	if err != nil {
		return nil, err
	}
	if size == hostDirectory {
		return nil, errors.New("read " + name + ": is a directory")
	}
	content := make([]byte, size, size+1)
	relative, _ := relativeToMount(path.Clean(name))
	hostRead(relative, unsafe.Pointer(unsafe.SliceData(content)))
	return content, nil
}

func (tree *hostTree) IsDir(name string) bool {
	size, err := tree.resolve(path.Clean(name))
	return err == nil && size == hostDirectory
}

func (tree *hostTree) Exists(name string) bool {
	_, err := tree.resolve(path.Clean(name))
	return err == nil
}

// What follows is part of the interface, and no build calls it.

func (*hostTree) Open(string) (filesys.File, error)        { return nil, errReadOnly }
func (*hostTree) ReadDir(string) ([]string, error)         { return nil, errReadOnly }
func (*hostTree) Glob(string) ([]string, error)            { return nil, errReadOnly }
func (*hostTree) Walk(string, filepath.WalkFunc) error     { return errReadOnly }
func (*hostTree) Create(string) (filesys.File, error)      { return nil, errReadOnly }
func (*hostTree) Mkdir(string) error                       { return errReadOnly }
func (*hostTree) MkdirAll(string) error                    { return errReadOnly }
func (*hostTree) RemoveAll(string) error                   { return errReadOnly }
func (*hostTree) WriteFile(name string, data []byte) error { return errReadOnly }
