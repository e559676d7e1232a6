"""From a checked program to decision trees and the artefact."""
