using System.Runtime.Intrinsics;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Bench;

/// <summary>
/// Forward pass, data gradient and filter gradient of convolutions, layer by layer: time, arithmetic rate, share of the processor's multiply-add limit
/// measured in the same rounds, and the peer's time on the same work.
/// </summary>
public static class ConvolutionBench
{
    /// <summary>A layer shape with its name.</summary>
    /// <param name="Name">What stands in the table.</param>
    /// <param name="Shape">The sizes.</param>
    public sealed record Layer(string Name, ConvolutionShape Shape);

    /// <summary>
    /// The layers that decide: ResNet-18 on 32×32 images at width 64 and 16, the same with odd channel counts as pruning leaves them.
    /// </summary>
    /// <param name="batch">Images at once for width 64; width 16 runs four times as many.</param>
    public static IReadOnlyList<Layer> Layers(int batch = 32) =>
    [
        Of("stem 3→64", batch, 32, 3, 64),
        Of("64→64", batch, 32, 64, 64),
        Of("128→128", batch, 16, 128, 128),
        Of("256→256", batch, 8, 256, 256),
        Of("512→512", batch, 4, 512, 512),
        Of("64→128 stride 2", batch, 32, 64, 128, stride: 2),
        Of("64→128 1×1 stride 2", batch, 32, 64, 128, kernel: 1, stride: 2),
        Of("64→64 1×1", batch, 32, 64, 64, kernel: 1),
        Of("37→64", batch, 32, 37, 64),
        Of("64→37", batch, 32, 64, 37),
        Of("37→37", batch, 32, 37, 37),
        Of("75→75", batch, 16, 75, 75),
        Of("stem 3→16", 4 * batch, 32, 3, 16),
        Of("16→16", 4 * batch, 32, 16, 16),
        Of("32→32", 4 * batch, 16, 32, 32),
        Of("64→64 at 8×8", 4 * batch, 8, 64, 64),
        Of("128→128 at 4×4", 4 * batch, 4, 128, 128),
    ];

    /// <summary>Measures all layers and passes.</summary>
    /// <param name="device">The device whose convolutions are measured; the limit is that of the host's processor.</param>
    /// <param name="layers">The layers.</param>
    /// <param name="options">Threads, repetitions, peer.</param>
    public static BenchTable Run(Device device, IReadOnlyList<Layer> layers, KernelBenchOptions options)
    {
        BenchTable table = new(
            $"Convolutions on {device.Name} ({device.Description})", options.Command,
            "layer", "batch", "image", "pass", "ms", "p10–p90", "fastest", "GFLOP/s", "of limit", "in lanes", "peer ms", "peer p10–p90", "peer/Saturn");
        double highest = 0;
        foreach (Layer layer in layers.Where(layer => options.Includes(layer.Name)))
        {
            foreach (LayerPass pass in Enum.GetValues<LayerPass>())
            {
                highest = Math.Max(highest, Measure(table, device, layer, pass, options));
            }
        }

        table.Note(
            $"Peer: {options.Peer?.Name ?? "none"}; {options.Threads} threads; {options.Repetition}. ms: median. GFLOP/s: two for each multiply-add of the "
            + "logical channels, padding taps included, in the fastest repetition. Of limit: against the highest float32 multiply-add limit measured in the same rounds (at best "
            + $"{BenchTable.Number(highest)} GFLOP/s). In lanes: the same, the channels that a vector runs over (output channels forwards, input channels "
            + $"in the gradients) counted up to whole vectors of {Lanes}. Peer/Saturn: above 1 where Saturn is faster; median of the rounds' quotients.");
        return table;
    }

    private static int Lanes => Vector512.IsHardwareAccelerated ? 16 : 8;

    private static Layer Of(string name, int batch, int size, int channelsIn, int channelsOut, int kernel = 3, int stride = 1) => new(
        name, new ConvolutionShape(batch, size, size, channelsIn, channelsOut, kernel, kernel, stride, stride, kernel / 2, kernel / 2));

    private static double Measure(BenchTable table, Device device, Layer layer, LayerPass pass, KernelBenchOptions options)
    {
        ConvolutionShape shape = layer.Shape;
        using DeviceArrays arrays = new(device);
        DeviceBuffer input = arrays.Uniform(shape.Input);
        DeviceBuffer weight = arrays.Uniform(shape.Weight);
        DeviceBuffer output = arrays.Uniform(shape.Output);
        Action work = pass switch
        {
            LayerPass.Forward => () => device.Convolution.Forward(shape, input, weight, DeviceBuffer.None, output, DeviceBuffer.None),
            LayerPass.DataGradient => () => device.Convolution.DataGradient(shape, output, weight, input, GradientMode.Overwrite),
            _ => () => device.Convolution.FilterGradient(shape, input, output, weight, DeviceBuffer.None, GradientMode.Overwrite),
        };
        List<Contender> contenders =
        [
            Measurement.Of("Saturn", () => { work(); device.Synchronize(); }, options.Repetition),

            // A limit of G GFLOP/s is 1000/G milliseconds for 10⁹ operations.
            new Contender("limit", () => [1000 / FusedMultiplyAddCeiling.Gigaflops(options.Threads)]),
        ];
        if (options.Peer is { } peer)
        {
            contenders.Add(Measurement.Of(peer, PeerWork.Convolution(pass, shape, options.Threads), options.Repetition));
        }

        IReadOnlyList<Timings> timings = Measurement.Interleave(contenders, options.Repetition.Rounds);
        options.Peer?.Release();
        Summary own = timings[0].Milliseconds;
        double limit = 1000 / timings[1].Milliseconds.Minimum;
        double gigaflops = 2.0 * shape.MultiplyAdds / own.Minimum / 1e6;
        int vectorChannels = pass == LayerPass.Forward ? shape.OutputChannels : shape.InputChannels;
        double padded = (double)((vectorChannels + Lanes - 1) / Lanes * Lanes) / vectorChannels;
        Timings? theirs = timings.Count > 2 ? timings[2] : null;
        table.Add(
            layer.Name, $"{shape.Batch}", $"{shape.InputHeight}×{shape.InputWidth}", Describe(pass),
            BenchTable.Number(own.Median), BenchTable.Spread(own), BenchTable.Number(own.Minimum), BenchTable.Number(gigaflops), BenchTable.Percent(gigaflops / limit), BenchTable.Percent(gigaflops * padded / limit),
            theirs is null ? "–" : BenchTable.Number(theirs.Milliseconds.Median), theirs is null ? "–" : BenchTable.Spread(theirs.Milliseconds),
            theirs is null ? "–" : BenchTable.Ratio(theirs.RatioTo(timings[0])));
        return limit;
    }

    private static string Describe(LayerPass pass) => pass switch
    {
        LayerPass.Forward => "forward",
        LayerPass.DataGradient => "data gradient",
        _ => "filter gradient",
    };
}
