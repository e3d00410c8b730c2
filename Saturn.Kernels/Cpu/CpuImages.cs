using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>Batches on the host: a task assembles one image.</summary>
internal sealed unsafe class CpuImages(WorkerTeam team) : IImageKernels
{
    /// <inheritdoc/>
    public void Assemble(in ImageSet set, in ImageSelection selection, DeviceBuffer images, DeviceBuffer labels)
    {
        if (images.Type != ElementType.Float32)
        {
            throw new NotSupportedException($"The host processor assembles images as {ElementType.Float32}; {images.Type} was asked for, which CUDA devices write.");
        }

        Job job = new() { Set = set, Selection = selection, Images = (float*)images.Address, Labels = (int*)labels.Address };
        team.Run(ref job, selection.Count);
    }

    private struct Job : IParallelJob
    {
        public ImageSet Set;
        public ImageSelection Selection;
        public float* Images;
        public int* Labels;

        public readonly void Run(int item, int worker)
        {
            uint* position = (uint*)Selection.Position.Address;
            int image = ((int*)Selection.Order.Address)[position[0] + (uint)(Selection.Skip + item)];
            int bytes = Set.Height * Set.Width * Set.Channels;
            int floats = Set.Height * Set.Width * Shape.PitchOf(Set.Channels);
            var change = Selection.Augments
                ? ImageAssembly.Draw(new PhiloxSequence(position[1], position[2], Selection.Stream, (uint)image), Set.CropPadding, Set.Flip)
                : default;
            ImageAssembly.Write(
                new ReadOnlySpan<byte>((byte*)Set.Images.Address + (long)image * bytes, bytes), Set.Height, Set.Width, new ReadOnlySpan<float>((float*)Set.Scale.Address, Set.Channels),
                new ReadOnlySpan<float>((float*)Set.Offset.Address, Set.Channels), change, new Span<float>(Images + (long)item * floats, floats));
            Labels[item] = ((int*)Set.Labels.Address)[image];
        }
    }
}
