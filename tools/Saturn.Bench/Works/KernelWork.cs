using Saturn.Kernels;

namespace Saturn.Bench.Works;

/// <summary>The units in which a work's rate is told.</summary>
public enum WorkLimit
{
    /// <summary>Products of matrices or convolutions: arithmetic or memory, whichever takes longer.</summary>
    Products,

    /// <summary>Memory alone.</summary>
    Memory,
}

/// <summary>
/// One kernel call that is measured: how its arrays are made on a device, the bytes it cannot avoid to move, its operations, what the peer is asked for, and what ratio is wanted.
/// </summary>
/// <param name="Family">The kernel family.</param>
/// <param name="Name">What stands in the table; unique inside a catalog.</param>
/// <param name="Limit">What bounds it.</param>
/// <param name="Bytes">Bytes of one call, by the size of an activation: each array counted as often as it must be read or written, pitch included.</param>
/// <param name="Operations">Floating-point operations of one call, two for a multiply-add; 0 where only bytes count.</param>
/// <param name="Prepare">Makes the arrays and returns the call.</param>
/// <param name="Peer">The same work for the peer, or null.</param>
/// <param name="Target">The wanted ratio to the peer, or null.</param>
public sealed record KernelWork(
    string Family, string Name, WorkLimit Limit, Func<int, long> Bytes, double Operations, Func<Device, WorkArrays, Action> Prepare, PeerWork? Peer = null,
    RatioTarget? Target = null)
{
    /// <summary>The arithmetic in which the operations run under a policy: the policy's own, unless the work's arrays are float32 under bf16 too.</summary>
    public Func<Precision, Precision> Arithmetic { get; init; } = precision => precision;
}

/// <summary>A ratio of the peer's time to Saturn's.</summary>
/// <param name="Must">What has to be reached.</param>
/// <param name="Aim">What is wished for.</param>
public sealed record RatioTarget(double Must, double Aim)
{
    /// <summary>How a measured ratio stands to the target, as in <c>aim met</c>.</summary>
    public string Judge(double ratio) => ratio >= Aim ? "aim met" : ratio >= Must ? "must met" : "not met";

    /// <inheritdoc/>
    public override string ToString() => $"{BenchTable.Number(Must)} / {BenchTable.Number(Aim)}";
}

/// <summary>At which sizes a catalog of works is made.</summary>
/// <param name="Batch">Images at once at the shapes of CIFAR; larger images take as many less as they are larger.</param>
/// <param name="LargestImage">Images are cut down to this side.</param>
/// <param name="LargestWidth">Channel counts are cut down to this, odd ones to odd ones.</param>
public sealed record WorkScale(int Batch, int LargestImage = int.MaxValue, int LargestWidth = int.MaxValue)
{
    /// <summary>Sizes at which the host checks the results.</summary>
    public static WorkScale Check { get; } = new(2, 14);

    /// <summary>Sizes for the emulator.</summary>
    public static WorkScale Tiny { get; } = new(2, 9, 72);

    /// <summary>Sizes at which tests hold counts to their floors: small arrays weigh less beside the large ones than in <see cref="Tiny"/>.</summary>
    public static WorkScale Counted { get; } = new(4, 16, 64);

    /// <summary>The side of an image; even and odd sides stay even and odd.</summary>
    public int Image(int size) => size <= LargestImage ? size : LargestImage - ((LargestImage ^ size) & 1);

    /// <summary>A channel count.</summary>
    public int Width(int channels) => channels <= LargestWidth ? channels : LargestWidth - ((LargestWidth ^ channels) & 1);

    /// <summary>Images of 224 pixels: half of those of 32.</summary>
    public int LargeImageBatch => Math.Max(1, Batch / 2);
}
