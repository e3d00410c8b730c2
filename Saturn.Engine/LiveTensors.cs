using Saturn.Kernels.Diagnostics;

namespace Saturn.Engine;

/// <summary>What tensors' memory is alive, for finding leaks.</summary>
public static class LiveTensors
{
    /// <summary>Where all live memory of tensors was allocated, most common first, or how to find out: places are recorded where the environment sets <c>SATURN_LEAKS</c>.</summary>
    public static string Describe()
    {
        if (!EnvironmentVariable.Leaks.IsOn)
        {
            return $"Set {EnvironmentVariable.Leaks.Name}=1 to see where live tensors were made.";
        }

        string sites = string.Join("\n", Storage.CreationSites());
        return sites.Length == 0 ? $"{EnvironmentVariable.Leaks.Name}: no tensor is alive." : $"{EnvironmentVariable.Leaks.Name}: live tensors\n{sites}";
    }
}
