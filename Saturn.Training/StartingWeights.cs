using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Training.Checkpoints;
using Saturn.Training.Runs;

namespace Saturn.Training;

/// <summary>Weights that a run begins with instead of random ones.</summary>
public static class StartingWeights
{
    /// <summary>Loads weights from a run's checkpoint, or from a <c>.safetensors</c> file under this network's parameter names.</summary>
    /// <param name="model">The network, of the same shapes.</param>
    /// <param name="source">A run folder or a file.</param>
    /// <exception cref="IOException">There is no such folder or file.</exception>
    /// <exception cref="Saturn.Engine.Checkpoints.CheckpointException">The weights are damaged, or of other shapes.</exception>
    public static void Load(Model model, string source)
    {
        if (Directory.Exists(source))
        {
            RunFolder folder = RunFolder.Open(source);
            Checkpoint.Read(folder.CheckpointPath).LoadWeights(model);
        }
        else if (File.Exists(source))
        {
            ModelWeights.Load(model, source);
        }
        else
        {
            throw new IOException($"--init-from names '{source}', but there is no such run folder or .safetensors file.");
        }
    }
}
