namespace Saturn.Kernels.Cpu;

/// <summary>
/// Work that falls into independent items. A struct, so that starting it allocates nothing. Which worker runs an item is not fixed; the result of an item
/// must not depend on it.
/// </summary>
internal interface IParallelJob
{
    /// <summary>Runs one item.</summary>
    /// <param name="item">0 … count − 1.</param>
    /// <param name="worker">0 … <see cref="WorkerTeam.Count"/> − 1; no two items run at once under one number, so it can index scratch memory.</param>
    void Run(int item, int worker);
}
