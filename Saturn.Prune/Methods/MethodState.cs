namespace Saturn.Prune.Methods;

/// <summary>What a method needs to go on after an interruption; a checkpoint holds it.</summary>
public sealed class MethodState
{
    /// <summary>Single numbers by name.</summary>
    public Dictionary<string, double> Numbers { get; init; } = [];

    /// <summary>Lists of numbers by name, single precision.</summary>
    public Dictionary<string, float[]> Arrays { get; init; } = [];

    /// <summary>A number, or a default where the state has none of that name.</summary>
    public double Number(string name, double otherwise = 0) => Numbers.GetValueOrDefault(name, otherwise);
}
